"""DPO that holds chosen up (DPO-positive): a pair gains nothing by making both of its answers less likely."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, at_least_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class DPOPConfig:
    """Hyper-parameters of DPOP.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        lambda_dpop: At least 0. What each nat costs by which chosen falls below the reference; 0 is DPO, the paper uses
            50.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    lambda_dpop: float = 50.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(lambda_dpop=self.lambda_dpop)


def dpop(batch: PairLogps, config: DPOPConfig) -> PairLossOutput:
    """-log sigma(beta (r_w - r_l - lambda max(0, -r_w))) for each pair.

    r is the policy's log-prob minus the reference's. A soft label takes the expectation over which side is better, and
    holds up that side.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta, the penalty and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Pal et al. (2024), "Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive"
    (arXiv 2402.13228), equation 3.
    """
    chosen, rejected = log_ratios(batch, "DPOP")

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(config.beta * (better - worse - config.lambda_dpop * torch.relu(-better)))

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "DPOP"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
