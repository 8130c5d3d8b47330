"""The gate before training: does the training engine see the log-probs that the reference engine stored?

The stored values are compared with the untrained policy's own, one row at a time, and that difference is held
against the training engine's noise: the same rows in one forward pass. A gap between the engines would show up as
a reward before the first step.
"""

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from ..config import TrainConfig
from ..errors import ParityError
from ..tables import polars_schema
from .policy import Policy
from .rows import PairRow, Row, TrainingSequence, UnpairedRow


class Parity(NamedTuple):
    """Differences over the sample, in nats a sequence.

    Attributes:
        rows: Sequences compared.
        mean_difference: Mean of |stored - row by row|.
        max_difference: Largest of them.
        noise: Mean of |batched - row by row|: the training engine against itself.
        limit: What the mean difference may be.
        margins: Margins that the stored values put between two answers to one prompt.
    """

    rows: int
    mean_difference: float
    max_difference: float
    noise: float
    limit: float
    margins: "Margins"

    def notes(self) -> dict[str, Any]:
        """The same as plain values."""
        return self._asdict() | {"margins": self.margins._asdict()}


class Margins(NamedTuple):
    """What the differences do to pairs: a margin is chosen less rejected, in nats.

    A reward is a difference of log-probs under policy and reference, so a gap between the engines in a pair's margin
    is a margin of rewards before the first step.

    Attributes:
        pairs: Pairs whose two sides are in the sample.
        induced_margin: Mean of |stored margin - margin row by row|; None without a pair.
        noise: Mean of |margin batched - margin row by row|.
        flipped: Pairs that the stored values order the other way round than the training engine does row by row.
        flipped_by_noise: Pairs that the training engine, batched, orders the other way round than row by row.
    """

    pairs: int
    induced_margin: float | None
    noise: float | None
    flipped: int
    flipped_by_noise: int


class Sample(NamedTuple):
    """What is compared.

    Attributes:
        sequences: Ids and sequences.
        pairs: Ids of two answers to one prompt, the better one first.
    """

    sequences: list[tuple[str, TrainingSequence]]
    pairs: list[tuple[str, str]]


def sample_of(rows: Sequence[Row], limit: int) -> Sample:
    """The first rows' sequences: rows are sorted by a hash, so the first are as good as random ones.

    Args:
        rows: Training rows.
        limit: Sequences at most.
    """
    sampled: dict[str, TrainingSequence] = {}
    for row in rows:
        for sequence in (row.chosen, row.rejected) if isinstance(row, PairRow) else (row.matched,):
            sampled.setdefault(sequence.sequence_id, sequence)
        if len(sampled) >= limit:
            break
    kept = dict(list(sampled.items())[:limit])
    return Sample(list(kept.items()), list(dict.fromkeys(_pairs(rows, kept))))


def _pairs(rows: Sequence[Row], kept: Container[str]) -> Iterator[tuple[str, str]]:
    """Ids of pairs of kept sequences: a pair's sides, and each liked answer with each disliked one to its prompt."""
    disliked: dict[tuple[int, ...], list[str]] = {}
    for row in rows:
        if isinstance(row, PairRow):
            if row.chosen.sequence_id in kept and row.rejected.sequence_id in kept:
                yield row.chosen.sequence_id, row.rejected.sequence_id
        elif isinstance(row, UnpairedRow) and not row.label and row.matched.sequence_id in kept:
            disliked.setdefault(tuple(row.matched.prompt_token_ids), []).append(row.matched.sequence_id)
    for row in rows:
        if isinstance(row, UnpairedRow) and row.label and row.matched.sequence_id in kept:
            for other in disliked.get(tuple(row.matched.prompt_token_ids), []):
                yield row.matched.sequence_id, other


@torch.no_grad()
def compare(policy: Policy, sequences: Sequence[tuple[str, TrainingSequence]], rows_per_batch: int) -> pl.DataFrame:
    """Table `parity`: stored log-probs beside the untrained policy's own.

    Args:
        policy: The model before its first step.
        sequences: Ids and sequences with stored reference log-probs.
        rows_per_batch: Sequences of one forward pass for the noise.
    """
    single = [float(policy.logps([sequence]).logps) for _, sequence in sequences]
    batched: list[float] = []
    for start in range(0, len(sequences), rows_per_batch):
        part = [sequence for _, sequence in sequences[start : start + rows_per_batch]]
        batched += policy.logps(part).logps.tolist()
    return pl.DataFrame(
        {
            "sequence_id": [name for name, _ in sequences],
            "token_count": [len(sequence.completion_token_ids) for _, sequence in sequences],
            "stored_logps": [sequence.reference_logps for _, sequence in sequences],
            "row_logps": single,
            "batched_logps": batched,
        },
        schema=polars_schema("parity"),
    )


def judge(parity: pl.DataFrame, config: TrainConfig, pairs: Sequence[tuple[str, str]] = ()) -> Parity:
    """The differences and what they may be.

    Args:
        parity: Table `parity`.
        config: The limits.
        pairs: Ids of two answers to one prompt, the better one first.
    """
    difference = (parity["stored_logps"] - parity["row_logps"]).abs()
    tokens = float(parity["token_count"].to_numpy().mean())
    noise = float((parity["batched_logps"] - parity["row_logps"]).abs().to_numpy().mean())
    return Parity(
        rows=parity.height,
        mean_difference=float(difference.to_numpy().mean()),
        max_difference=float(difference.to_numpy().max()),
        noise=noise,
        limit=max(config.parity_floor * math.sqrt(tokens), config.parity_multiple * noise),
        margins=_margins(parity, pairs),
    )


def _margins(parity: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> Margins:
    ways = ("stored_logps", "row_logps", "batched_logps")
    known = {row["sequence_id"]: row for row in parity.iter_rows(named=True)}
    margins = np.array([[known[chosen][way] - known[rejected][way] for way in ways] for chosen, rejected in pairs])
    if not len(margins):
        return Margins(0, None, None, 0, 0)
    stored, single, batched = margins.T
    return Margins(
        pairs=len(margins),
        induced_margin=float(np.abs(stored - single).mean()),
        noise=float(np.abs(batched - single).mean()),
        flipped=int((np.sign(stored) != np.sign(single)).sum()),
        flipped_by_noise=int((np.sign(batched) != np.sign(single)).sum()),
    )


def enforce(parity: Parity, dtype: str) -> None:
    """Let training go on only where stored and own log-probs agree.

    Raises:
        ParityError: They differ by more than the limit; the message says what to change.
    """
    if not parity.mean_difference <= parity.limit:
        raise ParityError(
            f"train: stored reference log-probs differ from the training engine's by {parity.mean_difference:.3g} nats "
            f"a sequence on {parity.rows} rows (at most {parity.max_difference:.3g}). Allowed are {parity.limit:.3g}; "
            f"the training engine's own noise is {parity.noise:.3g}. {_in_words(parity.margins)}Training would chase "
            f"that gap. Set "
            f"reference.dtype to {dtype} as in training, or reference.engine to hf; raise train.parity_multiple only "
            f"if you know why."
        )


def _in_words(margins: Margins) -> str:
    if margins.induced_margin is None:
        return ""
    return (
        f"Between the answers of {margins.pairs} pairs it puts a margin of {margins.induced_margin:.3g} nats before "
        f"the first step, and {margins.flipped} of them the other way round. "
    )
