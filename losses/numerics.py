"""Elementary functions that stay finite forwards and backwards over everything a model can produce."""

import math

import torch
from torch import Tensor

# float32's relative spacing at 1. Log-probs computed in float32 are not known more finely than this, so a
# mean log-prob nearer to zero than this is the same as this for the odds of ORPO.
SMALLEST_LOG_PROBABILITY = 2.0**-23

# exp(80) = 5.5e34 is finite in float32 and leaves room for a factor of a thousand. TRL's alpha divergence
# bounds its exponent at the same place.
LARGEST_EXPONENT = 80.0


def at_least_float32(values: Tensor) -> Tensor:
    """Return the values in float32, or unchanged where they are float64 already.

    Losses of bfloat16 log-probs are computed in float32: a sum of -400 nats has steps of 2 in bfloat16.

    Args:
        values: any shape, any floating or integer dtype.
    """
    return values if values.dtype == torch.float64 else values.to(torch.float32)


def log1mexp(log_probability: Tensor) -> Tensor:
    """Return `log(1 - exp(x))` for `x <= 0`, with a finite value and a finite gradient at `x = 0` too.

    Above `-SMALLEST_LOG_PROBABILITY` the value and the slope of that point are used. The slope is kept (not
    set to zero) so that a rejected completion of probability one is still pushed down.

    Args:
        log_probability: any shape, float32 or float64, nats.

    Source: Mächler 2012, "Accurately computing log(1 - exp(-|a|))": switch formulas at `-ln 2`.
    """
    bounded = log_probability.clamp(max=-SMALLEST_LOG_PROBABILITY)
    x = log_probability + (bounded - log_probability).detach()
    near_zero = x > -math.log(2.0)
    # Each branch sees only arguments at which its own derivative is finite: `where` alone would multiply an
    # infinite derivative by zero.
    near = torch.log(-torch.expm1(torch.where(near_zero, x, -math.log(2.0))))
    far = torch.log1p(-torch.exp(torch.where(near_zero, -math.log(2.0), x)))
    return torch.where(near_zero, near, far)


def log_odds(mean_logps: Tensor) -> Tensor:
    """Return `log(p / (1 - p))` of `p = exp(mean_logps)`.

    Args:
        mean_logps: any shape, float32 or float64, nats a token, at most 0.
    """
    return mean_logps - log1mexp(mean_logps)


def bounded_exp(exponent: Tensor) -> Tensor:
    """Return `exp(x)`, with `x` limited to 80 so that neither the value nor its gradient overflows.

    Beyond the limit the gradient is zero.

    Args:
        exponent: any shape, float32 or float64.
    """
    return torch.exp(exponent.clamp(max=LARGEST_EXPONENT))
