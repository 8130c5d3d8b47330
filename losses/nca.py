"""Noise contrastive alignment: each side classified against the reference, absolute and not only relative."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class NCAConfig:
    """Hyper-parameters of NCA.

    Attributes:
        beta: Above 0. Scale of the log-ratios: higher keeps the policy nearer the reference.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)


def nca(batch: PairLogps, config: NCAConfig) -> PairLossOutput:
    """-log sigma(beta r_w) - 1/2 log sigma(-beta r_w) - 1/2 log sigma(-beta r_l) for each pair.

    The middle term stops chosen's likelihood from falling, and from rising without end.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Chen et al. (2024), "Noise Contrastive Alignment" (arXiv 2402.05369), the pair form of its NCA loss.
    """
    chosen, rejected = log_ratios(batch, "NCA")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        high, low = config.beta * better, config.beta * worse
        return -logsigmoid(high) - 0.5 * logsigmoid(-high) - 0.5 * logsigmoid(-low)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "NCA"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
