"""Alignment by optimal transport: the batch's distribution of chosen against that of rejected."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, below_half
from .dpo import log_ratios
from .types import PairLogps, PairLossOutput, required, widened


@dataclass(frozen=True)
class AOTConfig:
    """Hyper-parameters of AOT.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)


def aot(batch: PairLogps, config: AOTConfig) -> PairLossOutput:
    """-log sigma(beta d_i), d_i the i-th smallest policy margin minus the i-th smallest reference margin.

    A margin is log p(chosen) - log p(rejected). Ranks are taken over the batch that is passed in, so a step cut
    into parts is another loss than the step at once; with one row it is DPO. Row i of the losses is rank i.

    Args:
        batch: Summed log-probs of policy and reference. Ranks are not rows: weights must all be equal.
        config: beta and label smoothing.

    Raises:
        MissingInputError: The batch lacks reference log-probs.
        ValueError: Weights differ between rows.

    Source: Melnyk et al. (2024), "Distributional Preference Alignment via Optimal Transport" (arXiv 2406.05882),
    section 3, the paired variant; TRL's `aot`.
    """
    chosen, rejected = log_ratios(batch, "AOT")
    policy = widened(batch.policy_chosen_logps) - widened(batch.policy_rejected_logps)
    reference = required(batch.reference_chosen_logps, "reference_chosen_logps", "AOT") - required(
        batch.reference_rejected_logps, "reference_rejected_logps", "AOT"
    )
    return _by_rank(policy, reference, chosen, rejected, batch, config)


def aot_unpaired(batch: PairLogps, config: AOTConfig) -> PairLossOutput:
    """-log sigma(beta d_i), d_i the i-th smallest log-ratio of chosen minus the i-th smallest of rejected.

    Which rejected completion belongs to which chosen one plays no part. As with `aot`, ranks are taken over the
    batch that is passed in.

    Args:
        batch: Summed log-probs of policy and reference. Ranks are not rows: weights must all be equal.
        config: beta and label smoothing.

    Raises:
        MissingInputError: The batch lacks reference log-probs.
        ValueError: Weights differ between rows.

    Source: Melnyk et al. (2024), arXiv 2406.05882, section 3, the unpaired variant; TRL's `aot_unpaired`.
    """
    chosen, rejected = log_ratios(batch, "AOT unpaired")
    return _by_rank(chosen, rejected, chosen, rejected, batch, config)


def _by_rank(
    higher: torch.Tensor,
    lower: torch.Tensor,
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    batch: PairLogps,
    config: AOTConfig,
) -> PairLossOutput:
    """The logistic loss of sorted `higher` against sorted `lower`; rewards of `chosen` and `rejected`."""
    scale = 1.0
    if batch.weights is not None and batch.weights.numel():
        if bool((batch.weights != batch.weights[0]).any()):
            raise ValueError("AOT compares ranks, not rows, so rows cannot weigh differently; leave weights out.")
        scale = float(batch.weights[0])
    margin = config.beta * (higher.sort().values - lower.sort().values)
    wrong = config.label_smoothing
    losses = -(1 - wrong) * logsigmoid(margin) - wrong * logsigmoid(-margin)
    return PairLossOutput(scale * losses, (config.beta * chosen).detach(), (config.beta * rejected).detach())
