"""Divergence: how far the model has moved from the reference, on the answers of the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.estimands import Source, share
from evaluators.scores import UnpairedScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "divergence"
VERSION = 2
_NO_REFERENCE = "there are no reference log-probs to compare with"


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean of log pi_ref(y|x) - log pi(y|x) over held-out answers, a sequence and a token.

    It estimates KL(reference || policy) where the answers were sampled from the reference model, which is so when
    the logged product ran it. For answers of another model it only says how much less likely they became.
    """
    found: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        names = ("reference_to_policy_per_sequence", "reference_to_policy_per_token")
        if model.reference_logps is None:
            found += [source.metric(name, None, "nats", _NO_REFERENCE) for name in names]
            continue
        moved = model.reference_logps - model.logps
        found.append(source.mean(names[0], moved, "nats"))
        found.append(_per_token(source, names[1], moved, model.token_counts))
    return found


def _per_token(source: Source, name: str, values: FloatArray, counts: FloatArray) -> Estimand:
    groups = source.groups.present()
    return Estimand(
        evaluator=NAME,
        version=VERSION,
        metric=name,
        model=source.model,
        unit="nats",
        columns=[source.groups.unit_sums(values), source.groups.unit_sums(counts)],
        formula=share,
        n=int(np.shape(values)[0]),
        n_groups=groups,
        fewest=groups,
    )
