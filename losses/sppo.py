"""Self-play preference optimisation with hard labels: each log-ratio is drawn to its own target."""

from dataclasses import dataclass

import torch

from .checks import above_zero
from .dpo import log_ratios
from .labels import soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class SPPOConfig:
    """Hyper-parameters of SPPO.

    Attributes:
        beta: Above 0, the paper's 1 / eta. Targets are 1 / (2 beta): higher keeps the policy nearer the reference.
        soft_labels: Use each pair's `chosen_better_probability` p: targets become +-(p - 1/2) / beta.
    """

    beta: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)


def sppo(batch: PairLogps, config: SPPOConfig) -> PairLossOutput:
    """(r_w - t)^2 + (r_l + t)^2 for each pair, t = 1 / (2 beta).

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Wu et al. (2024), "Self-Play Preference Optimization" (arXiv 2405.00675), equation 4.7, with the win
    probability 1 (TRL's `sppo_hard`) or the pair's own.
    """
    chosen, rejected = log_ratios(batch, "SPPO")
    better = soft_labels(batch, config.soft_labels, "SPPO")
    win = torch.ones_like(chosen) if better is None else better.to(chosen)
    target = (win - 0.5) / config.beta
    losses = (chosen - target) ** 2 + (rejected + target) ** 2
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
