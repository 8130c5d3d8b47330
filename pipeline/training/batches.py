"""The order in which rows are seen, and how a step is cut into forward passes."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .rows import Row

RowT = TypeVar("RowT", bound=Row)


def steps_in_epoch(rows: int, batch_rows: int) -> int:
    """Optimiser steps that pass once over the rows; the last may be smaller."""
    return math.ceil(rows / batch_rows)


def step_rows(rows: Sequence[RowT], step: int, batch_rows: int, seed: int) -> list[RowT]:
    """The rows of optimiser step `step`, counted from 0 over all epochs.

    A function of its arguments alone: a resumed run sees what an undisturbed one would.
    """
    epoch, step_of_epoch = divmod(step, steps_in_epoch(len(rows), batch_rows))
    order = np.random.default_rng([seed, epoch]).permutation(len(rows))
    return [rows[index] for index in order[step_of_epoch * batch_rows : (step_of_epoch + 1) * batch_rows]]


def micro_batches(rows: Sequence[RowT], micro_batch_rows: int) -> list[list[RowT]]:
    """Rows of a step by length, cut into parts that fit in memory: alike lengths pad least."""
    ordered = sorted(rows, key=lambda row: (-max(sequence.length for sequence in row.sequences), row.row_id))
    return [ordered[start : start + micro_batch_rows] for start in range(0, len(ordered), micro_batch_rows)]
