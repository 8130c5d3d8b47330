"""Weights of weighted preference optimisation: pairs that the policy could have written itself count more."""

import torch

from .shapes import one_a_row
from .types import widened


def wpo_weights(chosen_mean_aligned_logps: torch.Tensor, rejected_mean_aligned_logps: torch.Tensor) -> torch.Tensor:
    """e^(a_w + a_l) for each pair, without a gradient: (batch,), for `PairLogps.weights` of any method.

    a is a completion's mean over tokens of log p(token) - log sum_v p(v)^2, both under the policy: 0 on average for
    text that the policy samples, less for text that it would not write.

    Args:
        chosen_mean_aligned_logps: (batch,) nats a token.
        rejected_mean_aligned_logps: (batch,) nats a token.

    Raises:
        ValueError: Shapes differ.

    Source: Zhou et al. (2024), "WPO" (arXiv 2406.11827), equation 2; TRL's `use_weighting`.
    """
    one_a_row("WPO's weights", chosen=chosen_mean_aligned_logps, rejected=rejected_mean_aligned_logps)
    return torch.exp((widened(chosen_mean_aligned_logps) + widened(rejected_mean_aligned_logps)).detach())
