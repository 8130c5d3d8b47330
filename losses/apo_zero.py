"""Anchored preference optimisation, zero: chosen up and rejected down, each against the reference."""

from dataclasses import dataclass

import torch

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class APOZeroConfig:
    """Hyper-parameters of APO-zero.

    Attributes:
        beta: Above 0. Scale of the log-ratios: higher saturates sooner and keeps the policy nearer the reference.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)


def apo_zero(batch: PairLogps, config: APOZeroConfig) -> PairLossOutput:
    """1 - sigma(beta r_w) + sigma(beta r_l) for each pair.

    Each side is held against the reference by itself, so raising chosen is rewarded as such; DPO also accepts
    both falling. KTO with `reference_point: zero` is the same on single rows (TRL's `apo_zero_unpaired`).

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: D'Oosterlinck et al. (2024), "Anchored Preference Optimization" (arXiv 2408.06266), equation 7.
    """
    chosen, rejected = log_ratios(batch, "APO-zero")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        # 1 - sigma(x) written as sigma(-x), which keeps its digits where sigma(x) rounds to 1.
        return torch.sigmoid(-config.beta * better) + torch.sigmoid(config.beta * worse)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "APO-zero"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
