"""Humanline variants of methods with a reference: each token's likelihood ratio is clipped before it is summed."""

import math

import torch

from .shapes import one_a_token
from .types import widened


def clipped_log_ratios(
    policy_token_logps: torch.Tensor,
    reference_token_logps: torch.Tensor,
    mask: torch.Tensor,
    floor: float,
    ceiling: float,
) -> torch.Tensor:
    """Sums over completion tokens of log-ratios clipped to [floor, ceiling]: (batch,) float64 nats.

    A token beyond either end counts with its clipped value and has no gradient. Added to the reference's log-probs the
    sums stand where the policy's are: `PairLogps` and `UnpairedLogps` of any method with a reference take them.

    Args:
        policy_token_logps: (batch, time) nats; carries the gradient.
        reference_token_logps: (batch, time) nats, under the reference.
        mask: (batch, time) bool, True at completion tokens.
        floor: At most 0; minus infinity clips nothing below.
        ceiling: At least 0; infinity clips nothing above.

    Raises:
        ValueError: The bounds do not enclose 0, where policy and reference agree, or shapes differ.

    Source: Liu, Muennighoff and Ethayarajh (2025), "Humanline: Online Alignment as Perceptual Loss" (arXiv 2509.24207),
    humanline clipping; HALOs' `log_epsilon_P` and `log_epsilon_R`. Its other half, to take the policy for the reference
    anew every few steps, is for whoever trains.
    """
    if math.isnan(floor) or math.isnan(ceiling) or not floor <= 0 <= ceiling:
        raise ValueError(f"floor must be at most 0 and ceiling at least 0, not {floor} and {ceiling}.")
    one_a_token(
        "humanline", policy_token_logps=policy_token_logps, reference_token_logps=reference_token_logps, mask=mask
    )
    ratios = widened(policy_token_logps) - widened(reference_token_logps)
    return ratios.clamp(floor, ceiling).masked_fill(~mask, 0.0).double().sum(dim=1)
