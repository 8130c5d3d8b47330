"""Preference accuracy: how often the better answer gets the higher reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .estimands import Source, small_slice
from .groups import BoolArray
from .paired_tests import sign_flip_exact
from .scores import PairScores
from .slices import each_slice
from .types import Draft, EvaluationSettings, Metric

NAME = "pair_accuracy"
VERSION = 3


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """`accuracy` (a tie counts half) and `n_ties` over all pairs and each slice; `decided_accuracy` without ties.

    `chance_p` is the exact p-value, by prompt group, of a model that prefers either answer as often.
    """
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        metrics += _of_rows(source, model, None, np.ones(model.wins.shape[0], dtype=bool), None)
        for name, rows in each_slice(model.slices):
            metrics += _of_rows(source, model, name, rows, small_slice(model.groups.present(rows), settings))
        metrics.append(_against_chance(source, model))
        decided = model.wins != 0.5
        metrics.append(
            source.mean("decided_accuracy", model.wins, "share", decided, proportion=True, undefined="all pairs tie")
        )
    return metrics


def _against_chance(source: Source, model: PairScores) -> Metric:
    sums = model.groups.sums(model.wins - 0.5)
    above, below = int((sums > 0).sum()), int((sums < 0).sum())
    words = f"{above} prompt groups above chance, {below} below, {model.groups.present() - above - below} at it"
    return source.metric("chance_p", sign_flip_exact(sums), "probability", words)


def _of_rows(source: Source, model: PairScores, name: str | None, rows: BoolArray, warning: str | None) -> list[Draft]:
    ties = float(np.count_nonzero(model.wins[rows] == 0.5))
    accuracy = source.mean("accuracy", model.wins, "share", rows, slice=name, proportion=True, note=warning)
    counted = source.metric("n_ties", ties, "pairs", warning, slice=name, n=accuracy.n, n_groups=accuracy.n_groups)
    return [accuracy, counted]
