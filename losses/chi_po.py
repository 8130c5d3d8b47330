"""Chi-squared preference optimisation: DPO on a link that grows with the likelihood ratio itself, not its logarithm."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .numerics import bounded_exp
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class ChiPOConfig:
    """Hyper-parameters of chi-PO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        reward_bound: R, above 0: true rewards are taken to lie in [0, R], and a pair whose margin is beyond 2 R either
            way stops pulling, as the paper's guarantee needs; unset: none does.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    reward_bound: float | None = None
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        if self.reward_bound is not None:
            above_zero(reward_bound=self.reward_bound)


def chi_po(batch: PairLogps, config: ChiPOConfig) -> PairLossOutput:
    """-log sigma(clip(beta (phi(e^r_w) - phi(e^r_l)), -2 R, 2 R)) for each pair, phi(z) = z + log z.

    r is the policy's log-prob minus the reference's. Rewards are beta (phi(e^r) - 1), 0 where the policy is the
    reference.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta, the rewards' bound and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Huang et al. (2024), "Correcting the Mythos of KL-Regularization" (arXiv 2407.13399), algorithm 1. e^r ends
    at r = 80, where float32 still holds it; past it r alone pulls.
    """
    chosen_ratio, rejected_ratio = log_ratios(batch, "chi-PO")
    chosen, rejected = _link(chosen_ratio), _link(rejected_ratio)

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse)
        if config.reward_bound is not None:
            margin = margin.clamp(-2 * config.reward_bound, 2 * config.reward_bound)
        return -logsigmoid(margin)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "chi-PO"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )


def _link(log_ratio: torch.Tensor) -> torch.Tensor:
    """phi(e^r) - 1, (batch,)."""
    return bounded_exp(log_ratio) - 1 + log_ratio
