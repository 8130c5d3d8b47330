"""DiscoPOP: a blend of logistic and exponential loss that a language model's search came up with."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class DiscoPOPConfig:
    """Hyper-parameters of DiscoPOP.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        tau: In (0, 1]. Temperature of the blend; above 1 the loss would grow exponentially in a wrong margin.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    tau: float = 0.05
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau must be in (0, 1], not {self.tau}.")


def discopop(batch: PairLogps, config: DiscoPOPConfig) -> PairLossOutput:
    """-(1 - m) log sigma(z) + m e^-z for each pair, z = beta (r_w - r_l), m = sigma(z / tau).

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta, tau and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Lu et al. (2024), "Discovering Preference Optimization Algorithms" (arXiv 2406.08414), equation 5. The
    second term is one exponential here: m e^-z as a product is 0 times infinity below z = -88 in float32.
    """
    chosen, rejected = log_ratios(batch, "DiscoPOP")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse)
        exponential = torch.exp(logsigmoid(margin / config.tau) - margin)
        return exponential - torch.sigmoid(-margin / config.tau) * logsigmoid(margin)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "DiscoPOP"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
