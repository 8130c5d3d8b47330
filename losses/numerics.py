"""Functions of log-probs that stay finite, forwards and backwards, over all that a model can produce."""

import math

import torch

# exp(80) = 5.5e34: finite in float32, with room for a factor of a thousand.
_LARGEST_EXPONENT = 80.0


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x <= 0, finite with a finite gradient also at x = 0 and just below.

    Args:
        x: Any shape, float32 or float64, at most 0. Values above minus float32's epsilon count as that, with the slope
            there: log-probs are not known more finely, and the logarithm would end at minus infinity.

    Source: Maechler (2012), "Accurately computing log(1 - exp(-|a|))", equation 7; the clamp is ours.
    """
    bounded = x.clamp(max=-torch.finfo(torch.float32).eps)
    # The clamp moves the value but not the gradient: a rejected completion that is certain must still be pushed down.
    x = x + (bounded - x).detach()
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


def bounded_exp(x: torch.Tensor) -> torch.Tensor:
    """exp(x) with x limited to 80, so that neither it nor its gradient overflows; past the limit the gradient is zero.

    Args:
        x: Any shape, float32 or float64.
    """
    return torch.exp(x.clamp(max=_LARGEST_EXPONENT))
