"""The bound of an exponential, where a log-ratio runs away."""

import math

import pytest
import torch

from thumbline.losses.numerics import bounded_exp


@pytest.mark.parametrize(("x", "value", "slope"), [(-3.0, math.exp(-3), math.exp(-3)), (100.0, math.exp(80), 0.0)])
def test_an_exponential_ends_at_e_to_the_80_with_no_slope_beyond(x, value, slope):
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = bounded_exp(at)
    (gradient,) = torch.autograd.grad(found, at)
    assert (float(found.detach()), float(gradient)) == pytest.approx((value, slope))
