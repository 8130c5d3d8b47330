"""Direct preference optimisation, with smoothed, robust and soft labels."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, below_half, one_trust
from .types import PairLogps, PairLossOutput, required, weighted, widened


@dataclass(frozen=True)
class DPOConfig:
    """Hyper-parameters of DPO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong (cDPO).
        robust: Correct the loss for that share instead of smoothing the label (robust DPO).
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    robust: bool = False
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)
        if self.robust and self.soft_labels:
            raise ValueError("robust and soft_labels both say how far a label is to be trusted; choose one.")


def dpo(batch: PairLogps, config: DPOConfig) -> PairLossOutput:
    """-log sigma(z), z = beta (r_w - r_l), for each pair; r is the policy's log-prob minus the reference's.

    cDPO: -(1-e) log sigma(z) - e log sigma(-z). Robust: (-(1-e) log sigma(z) + e log sigma(-z)) / (1 - 2e).

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Rafailov et al. (2023), "Direct Preference Optimization", equation 7; Mitchell (2023), "A note on DPO
    with noisy preferences", equation 4 (cDPO); Chowdhury et al. (2024), "Provably robust DPO", equation 9.
    """
    chosen, rejected = log_ratios(batch, "DPO")
    logits = config.beta * (chosen - rejected)
    wrong: torch.Tensor | float = config.label_smoothing
    if config.soft_labels:
        better = required(batch.chosen_better_probability, "chosen_better_probability", "DPO with soft labels")
        wrong = 1.0 - better.to(logits)
    if config.robust:
        losses = (-(1 - wrong) * logsigmoid(logits) + wrong * logsigmoid(-logits)) / (1 - 2 * wrong)
    else:
        losses = -(1 - wrong) * logsigmoid(logits) - wrong * logsigmoid(-logits)
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )


def log_ratios(batch: PairLogps, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios of policy to reference, chosen then rejected: (batch,) nats, summed."""
    chosen = widened(batch.policy_chosen_logps) - required(
        batch.reference_chosen_logps, "reference_chosen_logps", method
    )
    rejected = widened(batch.policy_rejected_logps) - required(
        batch.reference_rejected_logps, "reference_rejected_logps", method
    )
    return chosen, rejected
