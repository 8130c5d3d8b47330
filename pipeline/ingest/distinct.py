"""Distinct values counted over any number of rows: 64-bit names on disk, a share of them in memory at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..storage.arrays import SHARE_ROWS, shares


def count_distinct(paths: Sequence[Path], share_rows: int = SHARE_ROWS) -> int:
    """How many different numbers the files of single numbers hold together."""
    return sum(len(np.unique(rows)) for rows in shares(paths, 1, share_rows))


def count_contradicted(paths: Sequence[Path], share_rows: int = SHARE_ROWS) -> int:
    """How many first numbers of the files' pairs stand beside more than one second number."""
    return sum(map(_contradicted, shares(paths, 2, share_rows)))


def _contradicted(rows: np.ndarray) -> int:
    if not len(rows):
        return 0
    order = np.argsort(rows[:, 0], kind="stable")
    first, second = rows[order, 0], rows[order, 1]
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]])
    return int((np.minimum.reduceat(second, starts) != np.maximum.reduceat(second, starts)).sum())
