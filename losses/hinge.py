"""Hinge loss on the reward margin (SLiC on log-ratios): pairs that are right by enough stop pulling."""

from dataclasses import dataclass

import torch

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class HingeConfig:
    """Hyper-parameters of the hinge loss.

    Attributes:
        beta: Above 0. Scale of the log-ratios; a pair is left alone once its margin is 1 / beta.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)


def hinge(batch: PairLogps, config: HingeConfig) -> PairLossOutput:
    """max(0, 1 - beta (r_w - r_l)) for each pair.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Zhao et al. (2023), "SLiC-HF", equation 1, on log-ratios as in Liu et al. (2024), "RSO", equation 9.
    """
    chosen, rejected = log_ratios(batch, "Hinge")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return torch.relu(1.0 - config.beta * (better - worse))

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "Hinge"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
