"""The gate before training: does the training engine see the log-probs that the reference engine stored?

The stored values are compared with the untrained policy's own, one row at a time, and that difference is held
against the training engine's noise: the same rows in one padded batch. A gap between the engines would show up as
a reward before the first step.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
import torch

from pipeline.config import TrainConfig
from pipeline.errors import ParityError
from pipeline.tables import polars_schema
from pipeline.training.batches import collate
from pipeline.training.policy import Policy
from pipeline.training.rows import TrainingSequence


class Parity(NamedTuple):
    """Differences over the sample, in nats a sequence.

    Attributes:
        rows: Sequences compared.
        mean_difference: Mean of |stored - row by row|.
        max_difference: Largest of them.
        noise: Mean of |batched - row by row|: the training engine against itself.
        limit: What the mean difference may be.
    """

    rows: int
    mean_difference: float
    max_difference: float
    noise: float
    limit: float

    def notes(self) -> dict[str, Any]:
        """The same as plain values."""
        return self._asdict()


@torch.no_grad()
def compare(policy: Policy, sequences: Sequence[tuple[str, TrainingSequence]], rows_per_batch: int) -> pl.DataFrame:
    """Table `parity`: stored log-probs beside the untrained policy's own.

    Args:
        policy: The model before its first step.
        sequences: Ids and sequences with stored reference log-probs.
        rows_per_batch: Sequences padded into one batch for the noise.
    """
    single = [float(policy.logps(collate([sequence])).logps) for _, sequence in sequences]
    batched: list[float] = []
    for start in range(0, len(sequences), rows_per_batch):
        part = [sequence for _, sequence in sequences[start : start + rows_per_batch]]
        batched += policy.logps(collate(part)).logps.tolist()
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


def judge(parity: pl.DataFrame, config: TrainConfig) -> Parity:
    """The differences and what they may be."""
    difference = (parity["stored_logps"] - parity["row_logps"]).abs()
    tokens = float(parity["token_count"].to_numpy().mean())
    noise = float((parity["batched_logps"] - parity["row_logps"]).abs().to_numpy().mean())
    return Parity(
        rows=parity.height,
        mean_difference=float(difference.to_numpy().mean()),
        max_difference=float(difference.to_numpy().max()),
        noise=noise,
        limit=max(config.parity_floor * math.sqrt(tokens), config.parity_multiple * noise),
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
            f"the training engine's own noise is {parity.noise:.3g}. Training would chase that gap. Set "
            f"reference.dtype to {dtype} as in training, or reference.engine to hf; raise train.parity_multiple only "
            f"if you know why."
        )
