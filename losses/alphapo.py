"""AlphaPO: SimPO with a reward whose shape alpha bends."""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, at_least_zero
from .labels import expected_over_labels, soft_labels
from .numerics import bounded_exp
from .orpo import mean_logps
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class AlphaPOConfig:
    """Hyper-parameters of AlphaPO.

    Attributes:
        beta: Above 0. Scale of the reward.
        gamma: At least 0. Margin that chosen should win by, in units of reward (outside beta).
        alpha: Finite. Shape of the reward; 0 is SimPO, above 0 weighs unlikely completions more.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 2.5
    gamma: float = 0.25
    alpha: float = 0.25
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(gamma=self.gamma)
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha must be finite, not {self.alpha}.")


def alphapo(batch: PairLogps, config: AlphaPOConfig) -> PairLossOutput:
    """-log sigma(beta (R_w - R_l) - gamma) for each pair, R = (1 - e^(-alpha m)) / alpha, m the mean log-prob a token.

    Args:
        batch: Summed log-probs of the policy, and token counts; an empty completion counts as one token.
        config: beta, gamma, alpha and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks token counts, or soft labels that are asked for.

    Source: Gupta et al. (2025), "AlphaPO" (arXiv 2501.03884); TRL's CPO trainer with `alpha` and
    `loss_type: simpo`. Exponents end at 80, where float32 still holds the result.
    """
    chosen_mean, rejected_mean = mean_logps(batch, "AlphaPO")
    chosen, rejected = _reward(chosen_mean, config), _reward(rejected_mean, config)

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(better - worse - config.gamma)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "AlphaPO"))
    return PairLossOutput(weighted(losses, batch.weights), chosen.detach(), rejected.detach())


def _reward(mean_logps: torch.Tensor, config: AlphaPOConfig) -> torch.Tensor:
    if config.alpha == 0:
        return config.beta * mean_logps
    return config.beta * (1 - bounded_exp(-config.alpha * mean_logps)) / config.alpha
