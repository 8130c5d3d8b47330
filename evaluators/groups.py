"""Prompt groups as numbers, and the units that are resampled: the groups themselves, or sets of very many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .types import FloatArray

IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

# More groups than this are first merged, at random and evenly, into this many sets, and whole sets are resampled.
# Variance and skewness of the totals stay the same in expectation; the width of an interval gets an error of about
# 1 / sqrt(2 * sets), 0.7%, beside the 2% that 1,000 draws leave anyway. It bounds time and memory for any number of
# groups.
MOST_SETS = 10_000


@dataclass(frozen=True)
class Groups:
    """Which prompt group each row is of, and which unit of resampling.

    Attributes:
        number: (rows,) group of each row, counted from 0 in the order of group ids.
        count: How many groups there are among all rows of the table.
        unit: (rows,) unit of resampling of each row: its group, or the set that its group was merged into.
        unit_count: How many units there are.
    """

    number: IntArray
    count: int
    unit: IntArray
    unit_count: int

    def sums(self, values: FloatArray) -> FloatArray:
        """(groups,) sums of row values by group."""
        return np.asarray(np.bincount(self.number, weights=values, minlength=self.count), dtype=np.float64)

    def unit_sums(self, values: FloatArray, rows: BoolArray | None = None) -> FloatArray:
        """(units,) sums of row values, or of those of some rows, by unit of resampling."""
        if rows is None:
            return np.asarray(np.bincount(self.unit, weights=values, minlength=self.unit_count), dtype=np.float64)
        return np.asarray(
            np.bincount(self.unit[rows], weights=values[rows], minlength=self.unit_count), dtype=np.float64
        )

    def unit_counts(self, rows: BoolArray | None = None) -> FloatArray:
        """(units,) how many rows, or of some rows, each unit of resampling has."""
        unit = self.unit if rows is None else self.unit[rows]
        return np.bincount(unit, minlength=self.unit_count).astype(np.float64)

    def present(self, rows: BoolArray | None = None) -> int:
        """How many groups the rows, or some of them, are of."""
        return self._all_present if rows is None else self._present(self.number[rows])

    @cached_property
    def _all_present(self) -> int:
        return self._present(self.number)

    def _present(self, number: IntArray) -> int:
        # Marking is a tenth of the time of sorting out the unique numbers.
        marks = np.zeros(self.count, dtype=bool)
        marks[number] = True
        return int(np.count_nonzero(marks))


def group_numbers(ids: pl.Series, seed: int) -> Groups:
    """The groups of rows, numbered in the order of their ids.

    Args:
        ids: (rows,) group id of each row.
        seed: Draws which groups are merged where there are very many.
    """
    names = ids.unique().sort().to_frame("group_id").with_row_index("number")
    joined = ids.to_frame("group_id").join(names, on="group_id", how="left", maintain_order="left")
    return numbered(joined["number"].to_numpy().astype(np.int64), names.height, seed)


def numbered(number: IntArray, count: int, seed: int) -> Groups:
    """Groups from (rows,) numbers below `count`; above `MOST_SETS` they are merged at random."""
    if count <= MOST_SETS:
        return Groups(number, count, number, count)
    # A stream of its own, so that merging and resampling do not share random numbers.
    merged = np.random.default_rng([seed, 1]).permutation(count) % MOST_SETS
    return Groups(number, count, merged[number], MOST_SETS)
