"""The order in which rows are seen, and their parts that fit in memory."""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from .layouts import Layout, computed_tokens
from .mapped import MappedRows
from .rows import PairRow, Row, TrainingSequence, UnpairedRow

RowT = TypeVar("RowT", bound=Row)
Labels = npt.NDArray[np.bool_]


def steps_in_epoch(rows: int, batch_rows: int) -> int:
    """Optimiser steps that pass once over the rows; the last may be smaller."""
    return math.ceil(rows / batch_rows)


def total_steps(rows: int, batch_rows: int, epochs: float, max_steps: int | None) -> int:
    """Optimiser steps of a whole run, at least one; `max_steps` ends it early, None does not."""
    steps = math.ceil(epochs * steps_in_epoch(rows, batch_rows))
    return min(steps, max_steps or steps)


def rows_in_steps(steps: int, rows: int, batch_rows: int) -> int:
    """Rows that the first optimiser steps take, counted over all epochs."""
    epochs, more = divmod(steps, steps_in_epoch(rows, batch_rows))
    return epochs * rows + more * batch_rows


def labels_of(rows: Sequence[Row]) -> Labels | None:
    """(rows,) True for desirable; None where the rows have no classes."""
    if not len(rows) or not isinstance(rows[0], UnpairedRow):
        return None
    if isinstance(rows, MappedRows):
        return rows.table["label"].to_numpy()
    return np.array([isinstance(row, UnpairedRow) and row.label for row in rows])


class Order:
    """Which rows each step takes: every row once an epoch, and a function of seed and step alone.

    A resumed run sees what an undisturbed one would. An epoch's order is drawn when its first step is asked for.
    """

    def __init__(self, rows: int, batch_rows: int, seed: int, labels: Labels | None = None) -> None:
        """Draw nothing yet.

        Args:
            rows: How many there are.
            batch_rows: Rows a step.
            seed: Of all draws.
            labels: (rows,) classes that are spread evenly over the epoch, so that a step holds each in the share that
                all rows have of it, to within one row; None for a plain shuffle.
        """
        self._rows, self._batch_rows, self._seed, self._labels = rows, batch_rows, seed, labels
        self._drawn: tuple[int, npt.NDArray[np.int64]] | None = None

    def of_step(self, step: int) -> npt.NDArray[np.int64]:
        """Numbers of the rows of an optimiser step, counted from 0 over all epochs."""
        epoch, place = divmod(step, steps_in_epoch(self._rows, self._batch_rows))
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self._draw(epoch))
        return self._drawn[1][place * self._batch_rows : (place + 1) * self._batch_rows]

    def _draw(self, epoch: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng([self._seed, epoch])
        order = generator.permutation(self._rows)
        if self._labels is None:
            return order
        # Each class stands at even distances from a start of its own, so that no stretch has more of it than another.
        places = np.empty(self._rows)
        for label in (False, True):
            own = np.flatnonzero(self._labels[order] == label)
            places[own] = (np.arange(len(own)) + generator.random()) / max(len(own), 1)
        return order[np.argsort(places, kind="stable")]


def order_of(rows: Sequence[Row], batch_rows: int, seed: int, stratify: Literal["label", "none"] = "label") -> Order:
    """The order of training rows.

    Args:
        rows: All training rows.
        batch_rows: Rows a step.
        seed: Of the order.
        stratify: What is spread evenly over the steps.
    """
    return Order(len(rows), batch_rows, seed, labels_of(rows) if stratify == "label" else None)


def step_rows(
    rows: Sequence[RowT], step: int, batch_rows: int, seed: int, stratify: Literal["label", "none"] = "label"
) -> list[RowT]:
    """The rows of optimiser step `step`, counted from 0 over all epochs.

    Args:
        rows: All training rows.
        step: From 0.
        batch_rows: Rows a step.
        seed: Of the order.
        stratify: What is spread evenly over the steps.
    """
    return [rows[index] for index in order_of(rows, batch_rows, seed, stratify).of_step(step)]


def row_draws(rows: int, seed: int, trained_rows: int) -> torch.Tensor:
    """(rows,) float64, uniform in [0, 1): a function of the seed and of how many rows were trained on before."""
    return torch.from_numpy(np.random.default_rng([seed, trained_rows]).random(rows))


def micro_batches(
    rows: Sequence[RowT],
    micro_batch_rows: int,
    micro_batch_tokens: int | None = None,
    layout: Layout = "padded",
    *,
    sort: bool = True,
) -> list[list[RowT]]:
    """Rows of a step by length, cut into parts that fit in memory: alike lengths pad least.

    Args:
        rows: Of one step.
        micro_batch_rows: Most rows of a part.
        micro_batch_tokens: Most tokens that the model computes for a part with a gradient; a row that has more is a
            part by itself. None for any number.
        layout: How a part is arranged, which says what is computed.
        sort: False leaves rows in their order, where neighbours share a prompt.
    """

    def by_length(row: RowT) -> tuple[int, str]:
        return -max(sequence.length for sequence in row.sequences), row.row_id

    parts: list[list[RowT]] = []
    for row in sorted(rows, key=by_length) if sort else rows:
        fits = bool(parts) and len(parts[-1]) < micro_batch_rows
        if fits and micro_batch_tokens is not None:
            fits = computed_tokens(trained_sequences([*parts[-1], row]), layout) <= micro_batch_tokens
        if fits:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def trained_sequences(rows: Sequence[Row]) -> list[TrainingSequence]:
    """The sequences that carry a gradient: a KTO row's partner keeps nothing for one."""
    return [sequence for row in rows for sequence in (row.sequences if isinstance(row, PairRow) else (row.matched,))]
