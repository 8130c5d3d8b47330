"""Length-normalised DPO: log-ratios a token, so that a long completion has no louder voice."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, below_half, one_trust
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, required, weighted


@dataclass(frozen=True)
class DPONormConfig:
    """Hyper-parameters of length-normalised DPO.

    Attributes:
        beta: Above 0. Scale of the mean log-ratios; they are smaller than sums by the length, so beta is larger
            than DPO's for the same pull (Tulu 3 uses 5).
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 5.0
    label_smoothing: float = 0.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)


def dpo_norm(batch: PairLogps, config: DPONormConfig) -> PairLossOutput:
    """-log sigma(beta (r_w / n_w - r_l / n_l)) for each pair, n the completion's tokens.

    Args:
        batch: Summed log-probs of policy and reference, and token counts; an empty completion counts as one token.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, token counts, or soft labels that are asked for.

    Source: Lambert et al. (2024), "Tulu 3" (arXiv 2411.15124); TRL's `sigmoid_norm`.
    """
    chosen, rejected = log_ratios(batch, "Length-normalised DPO")
    chosen = chosen / required(batch.chosen_token_counts, "chosen_token_counts", "Length-normalised DPO").clamp(min=1)
    rejected = rejected / required(batch.rejected_token_counts, "rejected_token_counts", "Length-normalised DPO").clamp(
        min=1
    )
    wrong = config.label_smoothing

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        margin = config.beta * (better - worse)
        return -(1 - wrong) * logsigmoid(margin) - wrong * logsigmoid(-margin)

    probability = soft_labels(batch, config.soft_labels, "Length-normalised DPO")
    losses = expected_over_labels(loss, chosen, rejected, probability)
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
