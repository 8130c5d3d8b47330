"""One optimiser step: its rows in parts that fit in memory, the gradient of their mean loss, and the update."""

import math
from collections.abc import Sequence

import torch

from ..config import TrainConfig
from ..errors import TrainingError
from .batches import micro_batches
from .objective import Objective, Tally
from .policy import Policy
from .rows import Row


def take_step(
    policy: Policy, objective: Objective, optimizer: torch.optim.Optimizer, rows: Sequence[Row], config: TrainConfig
) -> dict[str, float]:
    """Update the weights once; returns means over the step's rows of what is logged.

    Args:
        policy: The model.
        objective: The method.
        optimizer: It holds the step's learning rate already.
        rows: All rows of the step.
        config: Rows a forward pass and the gradient's largest norm.

    Raises:
        TrainingError: A loss or the gradient is not finite; the message names rows.
    """
    statistic = objective.step_statistic(policy, rows)
    tally = Tally()
    for part in micro_batches(rows, config.micro_batch_rows):
        measured = objective.measure(policy, part, statistic)
        torch.autograd.backward(measured.losses.sum() / len(rows))
        tally.add(measured)
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), config.max_grad_norm))
    if not math.isfinite(norm):
        raise TrainingError(
            f"train: the gradient of a step is not finite ({len(rows)} rows, first {rows[0].row_id}). "
            f"Lower train.learning_rate, or set train.dtype to float32."
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(sequence.length for row in rows for sequence in row.sequences)
    return tally.means() | {"grad_norm": norm, "tokens": float(tokens)}
