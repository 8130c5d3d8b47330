"""Divergence: how far the model has moved from the reference, on the answers of the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.pair_accuracy import share
from evaluators.scores import UnpairedScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric

NAME = "divergence"
VERSION = 1


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean of log pi_ref(y|x) - log pi(y|x) over held-out answers, a sequence and a token.

    It estimates KL(reference || policy) where the answers were sampled from the reference model, which is so when
    the logged product ran it. For answers of another model it only says how much less likely they became.
    """
    found: list[Draft] = []
    for model in scores:
        n, groups = model.logps.shape[0], model.groups.present()
        if model.reference_logps is None:
            found += [
                Metric(
                    NAME,
                    VERSION,
                    name,
                    model.model,
                    None,
                    None,
                    None,
                    None,
                    None,
                    n,
                    groups,
                    "nats",
                    "there are no reference log-probs to compare with",
                )
                for name in ("reference_to_policy_per_sequence", "reference_to_policy_per_token")
            ]
            continue
        moved = model.reference_logps - model.logps
        found.append(_ratio(model, "reference_to_policy_per_sequence", moved, np.ones_like(moved)))
        found.append(_ratio(model, "reference_to_policy_per_token", moved, model.token_counts))
    return found


def _ratio(model: UnpairedScores, name: str, values: FloatArray, counts: FloatArray) -> Estimand:
    columns = [model.groups.sums(values), model.groups.sums(counts)]
    return Estimand(NAME, VERSION, name, model.model, "nats", columns, share, values.shape[0])
