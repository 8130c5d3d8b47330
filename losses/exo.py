"""Efficient exact optimisation: the reverse KL between the policy's preference and the labels'."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero
from .dpo import log_ratios
from .labels import soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class EXOConfig:
    """Hyper-parameters of EXO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        label_smoothing: In (0, 0.5): the probability left to rejected. 0 would make the divergence infinite.
        soft_labels: Use each pair's `chosen_better_probability`, kept within `label_smoothing` of 0 and 1.
    """

    beta: float = 0.1
    label_smoothing: float = 1e-3
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        if not 0 < self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in (0, 0.5), not {self.label_smoothing}.")


def exo(batch: PairLogps, config: EXOConfig) -> PairLossOutput:
    """KL(q || p) for each pair, q = (sigma(z), sigma(-z)), z = beta (r_w - r_l), p = (1 - e, e) the label.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Ji et al. (2024), "Towards Efficient Exact Optimization" (arXiv 2402.00856), equation 16, K = 2.
    """
    chosen, rejected = log_ratios(batch, "EXO")
    margin = config.beta * (chosen - rejected)
    lowest = config.label_smoothing
    better = soft_labels(batch, config.soft_labels, "EXO")
    label = torch.full_like(margin, 1 - lowest) if better is None else better.to(margin).clamp(lowest, 1 - lowest)
    losses = torch.sigmoid(margin) * (logsigmoid(margin) - label.log()) + torch.sigmoid(-margin) * (
        logsigmoid(-margin) - torch.log1p(-label)
    )
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
