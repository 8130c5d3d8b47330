"""Uncertain labels: a pair's loss as its expectation over which side is the better one."""

from collections.abc import Callable

import torch

from .types import PairLogps, required


def expected_over_labels(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    chosen_better_probability: torch.Tensor | None,
) -> torch.Tensor:
    """P loss(chosen, rejected) + (1 - p) loss(rejected, chosen); the first term alone where p is None.

    Args:
        loss: Maps (batch,) values of the better and of the worse side to (batch,) losses.
        chosen: (batch,) values of the chosen side.
        rejected: (batch,) values of the rejected side.
        chosen_better_probability: (batch,) in [0, 1]; None means 1.
    """
    as_labelled = loss(chosen, rejected)
    if chosen_better_probability is None:
        return as_labelled
    probability = chosen_better_probability.to(as_labelled)
    return probability * as_labelled + (1 - probability) * loss(rejected, chosen)


def soft_labels(batch: PairLogps, wanted: bool, method: str) -> torch.Tensor | None:
    """The pairs' `chosen_better_probability` where soft labels are wanted, else None.

    Raises:
        MissingInputError: They are wanted and the batch holds none.
    """
    if not wanted:
        return None
    return required(batch.chosen_better_probability, "chosen_better_probability", f"{method} with soft labels")
