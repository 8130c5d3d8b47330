"""Preference accuracy: how often the better answer gets the higher reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.scores import BoolArray, PairScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric

NAME = "pair_accuracy"
VERSION = 1


def share(totals: FloatArray) -> FloatArray:
    """First column over second: a mean of rows from sums and counts."""
    return np.asarray(totals[..., 0] / totals[..., 1])


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """`accuracy` (a tie counts half) and `n_ties`, over all pairs and over each slice."""
    found: list[Draft] = []
    for model in scores:
        everything: dict[str | None, BoolArray] = {None: np.ones(model.wins.shape[0], dtype=bool)}
        for name, rows in (everything | model.slices).items():
            found += _of_rows(model, name, rows, settings)
    return found


def _of_rows(model: PairScores, name: str | None, rows: BoolArray, settings: EvaluationSettings) -> list[Draft]:
    n = int(rows.sum())
    groups = model.groups.present(rows)
    ties = int((np.abs(model.margins[rows]) <= model.tie_tolerance).sum())
    columns = [model.groups.sums(model.wins * rows), model.groups.sums(rows.astype(np.float64))]
    small = f"small slice: fewer than {settings.small_slice_groups} prompt groups"
    warning = small if name is not None and groups < settings.small_slice_groups else None
    return [
        Estimand(
            NAME,
            VERSION,
            "accuracy",
            model.model,
            "share",
            columns,
            share,
            n,
            slice=name,
            proportion=True,
            note=warning,
        ),
        Metric(NAME, VERSION, "n_ties", model.model, None, name, float(ties), None, None, n, groups, "pairs", warning),
    ]
