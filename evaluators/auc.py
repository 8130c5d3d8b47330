"""The area under the ROC curve of clustered rows: its value, and what each row adds to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .groups import BoolArray, IntArray
from .types import FloatArray


class Auc(NamedTuple):
    """An AUC and the influence of each row on it.

    Attributes:
        value: P(reward of a desirable row > reward of an undesirable row), a tie counting half.
        influence: (rows,) sums to 0; its sums by group have the spread of the value. 0 outside the rows.
    """

    value: float
    influence: FloatArray


def clustered_auc(rewards: FloatArray, labels: BoolArray, order: IntArray, rows: BoolArray | None = None) -> Auc | None:
    """AUC of the rows, or of some of them; None where one class is absent.

    Args:
        rewards: (rows,) rewards.
        labels: (rows,) True for desirable.
        order: (rows,) what sorts the rewards; one sorting serves every part of the rows.
        rows: (rows,) which count; None for all.

    Source: Mann and Whitney (1947) for the estimate; Obuchowski (1997), "Nonparametric analysis of clustered ROC
    curve data", equation 4, for the variance: placements summed within a group.
    """
    kept = order if rows is None else order[rows[order]]
    up = labels[kept]
    n_up = int(np.count_nonzero(up))
    n_down = kept.shape[0] - n_up
    if not n_up or not n_down:
        return None
    placements = _placements(rewards[kept], up, n_up, n_down)
    value = float(placements[up].mean())
    influence = np.zeros(rewards.shape[0])
    influence[kept] = (placements - value) / np.where(up, n_up, n_down)
    return Auc(value, influence)


def _placements(ordered: FloatArray, up: BoolArray, n_up: int, n_down: int) -> FloatArray:
    """For a desirable row the share of undesirable rows below it, for an undesirable one that of desirable above it."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, ordered.shape[0]))
    ups_in = np.add.reduceat(up.astype(np.int64), starts)
    ups_below = np.cumsum(ups_in) - ups_in
    downs_in = sizes - ups_in
    downs_below = starts - ups_below
    below = (downs_below + 0.5 * downs_in) / n_down
    above = (n_up - ups_below - 0.5 * ups_in) / n_up
    return np.where(up, np.repeat(below, sizes), np.repeat(above, sizes))
