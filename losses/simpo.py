"""Simple preference optimisation: length-normalised log-probs with a target margin, without a reference."""

import math
from dataclasses import dataclass

from torch.nn.functional import logsigmoid

from losses.orpo import mean_logps
from losses.types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class SimPOConfig:
    """Hyper-parameters of SimPO.

    Attributes:
        beta: Above 0. Scale of the mean log-probs; the paper uses 2 to 10.
        gamma: At least 0. Margin that chosen should win by, in units of reward (outside beta, as the paper and
            TRL's CPO trainer with `simpo_gamma` have it).
    """

    beta: float = 2.0
    gamma: float = 0.5

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, not {self.beta}.")
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma must be at least 0 and finite, not {self.gamma}.")


def simpo(batch: PairLogps, config: SimPOConfig) -> PairLossOutput:
    """-log sigma(beta (m_w - m_l) - gamma) for each pair, m the mean log-prob a token.

    Args:
        batch: Summed log-probs of the policy, and token counts.
        config: beta and gamma.

    Raises:
        MissingInputError: The batch lacks token counts.

    Source: Meng et al. (2024), "SimPO", equation 6.
    """
    chosen, rejected = mean_logps(batch, "SimPO")
    losses = -logsigmoid(config.beta * (chosen - rejected) - config.gamma)
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
