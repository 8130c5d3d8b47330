"""Contrastive preference optimisation: DPO with a uniform reference, plus the likelihood of chosen."""

import math
from dataclasses import dataclass

from torch.nn.functional import logsigmoid

from losses.types import PairLogps, PairLossOutput, required, weighted, widened


@dataclass(frozen=True)
class CPOConfig:
    """Hyper-parameters of CPO.

    Attributes:
        beta: Above 0. Scale of the log-prob difference.
        alpha: At least 0. Weight of chosen's mean negative log-likelihood.
    """

    beta: float = 0.1
    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, not {self.beta}.")
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be at least 0 and finite, not {self.alpha}.")


def cpo(batch: PairLogps, config: CPOConfig) -> PairLossOutput:
    """-log sigma(beta (log pi(y_w) - log pi(y_l))) + alpha NLL(y_w) for each pair.

    Args:
        batch: Summed log-probs of the policy; chosen's token counts for the likelihood.
        config: beta and alpha.

    Raises:
        MissingInputError: The batch lacks chosen's token counts.

    Source: Xu et al. (2024), "Contrastive Preference Optimization", equation 5; the NLL is a mean a token.
    """
    chosen, rejected = widened(batch.policy_chosen_logps), widened(batch.policy_rejected_logps)
    counts = required(batch.chosen_token_counts, "chosen_token_counts", "CPO").clamp(min=1)
    losses = -logsigmoid(config.beta * (chosen - rejected)) - config.alpha * chosen / counts
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
