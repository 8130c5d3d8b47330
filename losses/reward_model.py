"""The Bradley-Terry loss of a reward model: scores of two answers in, the better one's should be higher."""

import torch
from torch.nn.functional import logsigmoid

from .checks import at_least_zero
from .labels import expected_over_labels
from .shapes import one_a_row
from .types import widened


def reward_model_loss(
    chosen_scores: torch.Tensor,
    rejected_scores: torch.Tensor,
    margins: torch.Tensor | None = None,
    centering: float = 0.0,
    weights: torch.Tensor | None = None,
    chosen_better_probability: torch.Tensor | None = None,
) -> torch.Tensor:
    """-log sigma(R_w - R_l - margin) + centering (R_w + R_l)^2 for each pair: (batch,), at least float32.

    Args:
        chosen_scores: (batch,) the reward model's scores of the chosen answers; carries the gradient.
        rejected_scores: (batch,) of the rejected ones.
        margins: (batch,) by how much chosen should win (Llama 2, equation 2); None means 0.
        centering: At least 0. Pulls scores to a mean of 0, which the first term leaves free; 0.01 is usual (TRL's
            `center_rewards_coefficient`).
        weights: (batch,) weight of each pair's loss; None means 1.
        chosen_better_probability: (batch,) in [0, 1], the soft label; None means 1.

    Raises:
        ValueError: `centering` is out of range, or shapes differ.

    Source: Ouyang et al. (2022), InstructGPT (arXiv 2203.02155), equation 1; centring: Eisenstein et al. (2023),
    "Helping or Herding?" (arXiv 2312.09244), equation 2.
    """
    at_least_zero(centering=centering)
    one_a_row(
        "a reward model's loss",
        chosen_scores=chosen_scores,
        rejected_scores=rejected_scores,
        margins=margins,
        weights=weights,
        chosen_better_probability=chosen_better_probability,
    )
    chosen, rejected = widened(chosen_scores), widened(rejected_scores)
    lead = torch.zeros_like(chosen) if margins is None else margins.to(chosen)

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(better - worse - lead)

    losses = expected_over_labels(loss, chosen, rejected, chosen_better_probability)
    if centering:
        losses = losses + centering * (chosen + rejected) ** 2
    return losses if weights is None else losses * weights.to(losses)
