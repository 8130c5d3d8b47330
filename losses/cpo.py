"""Contrastive preference optimisation: DPO with a uniform reference, plus the likelihood of chosen."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, at_least_zero, below_half, one_trust
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, required, weighted, widened


@dataclass(frozen=True)
class CPOConfig:
    """Hyper-parameters of CPO.

    Attributes:
        beta: Above 0. Scale of the log-prob difference.
        alpha: At least 0. Weight of chosen's mean negative log-likelihood.
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong.
        soft_labels: Use each pair's `chosen_better_probability` as its label, in the preference term.
    """

    beta: float = 0.1
    alpha: float = 1.0
    label_smoothing: float = 0.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(alpha=self.alpha)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)


def cpo(batch: PairLogps, config: CPOConfig) -> PairLossOutput:
    """-log sigma(beta (log pi(y_w) - log pi(y_l))) + alpha NLL(y_w) for each pair.

    Args:
        batch: Summed log-probs of the policy; chosen's token counts for the likelihood.
        config: beta, alpha and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks chosen's token counts, or soft labels that are asked for.

    Source: Xu et al. (2024), "Contrastive Preference Optimization", equation 5. The NLL is a mean over each pair's own
    chosen tokens; TRL's is over all tokens of a batch, prompts included where its labels keep them.
    """
    chosen, rejected = widened(batch.policy_chosen_logps), widened(batch.policy_rejected_logps)
    counts = required(batch.chosen_token_counts, "chosen_token_counts", "CPO").clamp(min=1)
    wrong = config.label_smoothing

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse)
        return -(1 - wrong) * logsigmoid(margin) - wrong * logsigmoid(-margin)

    preference = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "CPO"))
    losses = preference - config.alpha * chosen / counts
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
