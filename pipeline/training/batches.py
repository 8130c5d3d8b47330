"""The order in which rows are seen, and their padding into tensors."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from .rows import Row, TrainingSequence

RowT = TypeVar("RowT", bound=Row)


class Collated(NamedTuple):
    """Padded sequences.

    Attributes:
        input_ids: (sequences, time) int64; padded at the right.
        attention_mask: (sequences, time) int64; 1 where a token stands.
        completion_mask: (sequences, time) bool; True at completion tokens.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    completion_mask: torch.Tensor

    def to(self, device: torch.device) -> "Collated":
        """The same tensors on `device`."""
        return Collated(*(tensor.to(device) for tensor in self))


def collate(sequences: Sequence[TrainingSequence], padding_id: int = 0) -> Collated:
    """Sequences as one padded batch; what is at padded places is masked, so any id does."""
    longest = max(sequence.length for sequence in sequences)
    input_ids = torch.full((len(sequences), longest), padding_id, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    completion_mask = torch.zeros_like(input_ids, dtype=torch.bool)
    for index, sequence in enumerate(sequences):
        start, end = len(sequence.prompt_token_ids), sequence.length
        ids = np.concatenate([sequence.prompt_token_ids, sequence.completion_token_ids], dtype=np.int64)
        input_ids[index, :end] = torch.from_numpy(ids)
        attention_mask[index, :end] = 1
        completion_mask[index, start:end] = True
    return Collated(input_ids, attention_mask, completion_mask)


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
