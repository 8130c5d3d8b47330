"""DPO under other divergences than the reverse KL."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, below_half, one_of, one_trust
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .numerics import bounded_exp
from .types import PairLogps, PairLossOutput, weighted

# Nearer to 1 than this the alpha divergence is the reverse KL to float32's precision (TRL's bound).
_ALPHA_NEAR_ONE = 1e-6


@dataclass(frozen=True)
class FDPOConfig:
    """Hyper-parameters of f-DPO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        divergence: `reverse_kl` (plain DPO), `forward_kl`, `jensen_shannon` or `alpha`.
        alpha: The alpha divergence's order, finite: 1 is the reverse KL, 0 the forward KL.
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    divergence: Literal["reverse_kl", "forward_kl", "jensen_shannon", "alpha"] = "jensen_shannon"
    alpha: float = 0.5
    label_smoothing: float = 0.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)
        one_of(("reverse_kl", "forward_kl", "jensen_shannon", "alpha"), divergence=self.divergence)
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha must be finite, not {self.alpha}.")


def f_dpo(batch: PairLogps, config: FDPOConfig) -> PairLossOutput:
    """-log sigma(beta (f'(e^r_w) - f'(e^r_l))) for each pair, f' the derivative of the divergence's generator.

    f'(t), up to a constant: reverse KL log t; forward KL 1 - 1/t; Jensen-Shannon log(2t / (1 + t)); alpha
    (t^(alpha - 1) - 1) / (alpha - 1). Rewards are these scores times beta.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta, the divergence and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Wang et al. (2023), "Beyond Reverse KL" (arXiv 2309.16240); TRL's
    `f_divergence_type` and form of alpha. Exponents end at 80, where float32 still holds the result; past it the
    gradient is zero (TRL does so for alpha; its forward KL overflows).
    """
    chosen_ratio, rejected_ratio = log_ratios(batch, "f-DPO")
    chosen, rejected = divergence_score(chosen_ratio, config), divergence_score(rejected_ratio, config)
    wrong = config.label_smoothing

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse)
        return -(1 - wrong) * logsigmoid(margin) - wrong * logsigmoid(-margin)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "f-DPO"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )


def divergence_score(log_ratio: torch.Tensor, config: FDPOConfig) -> torch.Tensor:
    """f'(e^r) of the configured divergence, (batch,), from log-ratios in nats."""
    if config.divergence == "forward_kl":
        return 1 - bounded_exp(-log_ratio)
    if config.divergence == "jensen_shannon":
        return math.log(2.0) + logsigmoid(log_ratio)
    order = config.alpha - 1.0
    if config.divergence == "reverse_kl" or abs(order) < _ALPHA_NEAR_ONE:
        return log_ratio
    return (bounded_exp(order * log_ratio) - 1) / order
