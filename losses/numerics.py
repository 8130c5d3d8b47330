"""Functions of log-probs that stay finite, forwards and backwards, over all that a model can produce."""

import math

import torch


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x <= 0, finite with a finite gradient also at x = 0 and just below.

    Args:
        x: Any shape, float32 or float64, at most 0. Values above minus the type's epsilon count as that, with no
            gradient: 1 - exp(x) is not told apart from 0 there, and its logarithm would be minus infinity.

    Source: Maechler (2012), "Accurately computing log(1 - exp(-|a|))", equation 7; the clamp is ours.
    """
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near_zero = x > -math.log(2.0)
    # Each branch sees only arguments that it is finite for, so that the other's gradient is 0 and never 0 * inf.
    near = torch.where(near_zero, x, torch.full_like(x, -0.5))
    far = torch.where(near_zero, torch.full_like(x, -1.0), x)
    return torch.where(near_zero, torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))


def log_odds(mean_logps: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) of p = exp(mean_logps).

    Args:
        mean_logps: Any shape, nats a token, at most 0.

    Source: Hong et al. (2024), "ORPO", equation 5.
    """
    return mean_logps - log1mexp(mean_logps)
