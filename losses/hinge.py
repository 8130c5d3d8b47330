"""Hinge loss on the reward margin (SLiC on log-ratios): pairs that are right by enough stop pulling."""

import math
from dataclasses import dataclass

from losses.dpo import log_ratios
from losses.types import PairLogps, PairLossOutput, weighted


@dataclass(frozen=True)
class HingeConfig:
    """Hyper-parameters of the hinge loss.

    Attributes:
        beta: Above 0. Scale of the log-ratios; a pair is left alone once its margin is 1 / beta.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, not {self.beta}.")


def hinge(batch: PairLogps, config: HingeConfig) -> PairLossOutput:
    """max(0, 1 - beta (r_w - r_l)) for each pair.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta.

    Raises:
        MissingInputError: The batch lacks reference log-probs.

    Source: Zhao et al. (2023), "SLiC-HF", equation 1, on log-ratios as in Liu et al. (2024), "RSO", equation 9.
    """
    chosen, rejected = log_ratios(batch, "hinge")
    losses = (1.0 - config.beta * (chosen - rejected)).clamp(min=0)
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
