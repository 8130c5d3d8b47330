"""The logistic loss of a thumbs model: the score of one answer is the log-odds that its thumb is up."""

import torch
from torch.nn.functional import softplus

from .shapes import one_a_row
from .types import weighted, widened


def reward_bce_loss(
    scores: torch.Tensor, probability_desirable: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """-p log sigma(R) - (1 - p) log sigma(-R) for each answer: (batch,), at least float32.

    Its minimum is at `sigma(R) = p`: classes are not balanced against each other, so that scores hold the plain rate.

    Args:
        scores: (batch,) the model's scores, logits; carries the gradient.
        probability_desirable: (batch,) in [0, 1]: whether the thumb is up, or how probably.
        weights: (batch,) weight of each answer's loss; None means 1.

    Raises:
        ValueError: Shapes differ.

    Source: the logistic likelihood, as in Cobbe et al. (2021), "Training Verifiers to Solve Math Word Problems"
    (arXiv 2110.14168), section 4.2, on whole answers.
    """
    one_a_row("a thumbs model's loss", scores=scores, probability_desirable=probability_desirable, weights=weights)
    logits = widened(scores)
    # softplus(R) - p R is the same sum, finite however large R is.
    return weighted(softplus(logits) - probability_desirable.to(logits) * logits, weights)
