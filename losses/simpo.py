"""Simple preference optimisation: length-normalised log-probs with a target margin, without a reference."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, at_least_zero, below_half, one_of, one_trust
from .labels import expected_over_labels, soft_labels
from .orpo import mean_logps
from .types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class SimPOConfig:
    """Hyper-parameters of SimPO.

    Attributes:
        beta: Above 0. Scale of the mean log-probs; the paper uses 2 to 10.
        gamma: At least 0. Margin that chosen should win by.
        gamma_unit: `reward` (outside beta, as the paper and TRL's CPO trainer with `simpo_gamma` have it) or
            `mean_logps` (inside beta: nats a token).
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 2.0
    gamma: float = 0.5
    gamma_unit: Literal["reward", "mean_logps"] = "reward"
    label_smoothing: float = 0.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(gamma=self.gamma)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)
        one_of(("reward", "mean_logps"), gamma_unit=self.gamma_unit)


def simpo(batch: PairLogps, config: SimPOConfig) -> PairLossOutput:
    """-log sigma(beta (m_w - m_l) - gamma) for each pair, m the mean log-prob a token.

    Args:
        batch: Summed log-probs of the policy, and token counts.
        config: beta, gamma and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks token counts, or soft labels that are asked for.

    Source: Meng et al. (2024), "SimPO", equation 6.
    """
    chosen, rejected = mean_logps(batch, "SimPO")
    margin_wanted = config.gamma if config.gamma_unit == "reward" else config.beta * config.gamma
    wrong = config.label_smoothing

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse) - margin_wanted
        return -(1 - wrong) * logsigmoid(margin) - wrong * logsigmoid(-margin)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "SimPO"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
