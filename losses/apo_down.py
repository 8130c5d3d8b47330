"""Anchored preference optimisation, down: both sides down, rejected further."""

from dataclasses import dataclass

import torch

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class APODownConfig:
    """Hyper-parameters of APO-down.

    Attributes:
        beta: Above 0. Scale of the log-ratios: higher saturates sooner and keeps the policy nearer the reference.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)


def apo_down(batch: PairLogps, config: APODownConfig) -> PairLossOutput:
    """sigma(beta r_w) + 1 - sigma(beta (r_w - r_l)) for each pair.

    For data whose chosen completions are worse than what the model already writes.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: D'Oosterlinck et al. (2024), "Anchored Preference Optimization" (arXiv 2408.06266), equation 8.
    """
    chosen, rejected = log_ratios(batch, "APO-down")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(config.beta * better) + torch.sigmoid(-config.beta * (better - worse))

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "APO-down"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
