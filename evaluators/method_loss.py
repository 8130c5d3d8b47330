"""The training method's own loss on held-out rows, as it was stored with them."""

from __future__ import annotations

from collections.abc import Sequence

from .estimands import Source
from .scores import PairScores, UnpairedScores
from .types import Draft, EvaluationSettings

PAIR_NAME = "pair_loss"
UNPAIRED_NAME = "unpaired_loss"
VERSION = 2
_NOT_STORED = (
    "the rows have no column `loss`, or not a value in each: the method does not take them, or nobody stored it"
)


def pair_drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean loss over held-out pairs."""
    return [_mean(Source(PAIR_NAME, VERSION, model.model, model.groups), model) for model in scores]


def unpaired_drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean loss over held-out unpaired rows."""
    return [_mean(Source(UNPAIRED_NAME, VERSION, model.model, model.groups), model) for model in scores]


def _mean(source: Source, model: PairScores | UnpairedScores) -> Draft:
    if model.losses is None:
        return source.metric("loss", None, "loss", _NOT_STORED)
    return source.mean("loss", model.losses, "loss")
