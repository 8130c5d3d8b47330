"""Divergence: how far the model has moved from the reference, on the answers of the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .estimands import Source, share
from .scores import PairScores, UnpairedScores
from .types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "divergence"
PAIR_NAME = "pair_divergence"
VERSION = 3
PAIR_VERSION = 2
_NO_REFERENCE = "there are no reference log-probs to compare with"


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean of log pi_ref(y|x) - log pi(y|x) over held-out answers, a sequence and a token.

    It estimates KL(reference || policy) where the answers were sampled from the reference model, which is so when
    the logged product ran it. For answers of another model it only says how much less likely they became.
    """
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        moved = None if model.reference_logps is None else model.reference_logps - model.logps
        metrics += _both(source, moved, np.ones_like(model.logps), model.token_counts)
    return metrics


def pair_drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """The same over both answers of held-out pairs, for methods that score no unpaired rows.

    An answer that is in several pairs counts as often.
    """
    metrics: list[Draft] = []
    for model in scores:
        source = Source(PAIR_NAME, PAIR_VERSION, model.model, model.groups)
        moved = None
        if model.reference_chosen_logps is not None and model.reference_rejected_logps is not None:
            before = model.reference_chosen_logps + model.reference_rejected_logps
            moved = before - model.chosen_logps - model.rejected_logps
        tokens = model.chosen_token_counts + model.rejected_token_counts
        metrics += _both(source, moved, np.full_like(tokens, 2.0), tokens)
    return metrics


def _both(source: Source, moved: FloatArray | None, answers: FloatArray, tokens: FloatArray) -> list[Draft]:
    """A sequence and a token: (rows,) sums of changes, how many answers they are of, and of how many tokens."""
    counts = {"reference_to_policy_per_sequence": answers, "reference_to_policy_per_token": tokens}
    if moved is None:
        return [source.metric(name, None, "nats", _NO_REFERENCE) for name in counts]
    return [_ratio(source, name, moved, count) for name, count in counts.items()]


def _ratio(source: Source, name: str, values: FloatArray, counts: FloatArray) -> Estimand:
    groups = source.groups.present()
    return Estimand(
        evaluator=source.evaluator,
        version=source.version,
        metric=name,
        model=source.model,
        unit="nats",
        columns=[source.groups.unit_sums(values), source.groups.unit_sums(counts)],
        formula=share,
        n=values.shape[0],
        n_groups=groups,
        fewest=groups,
    )
