"""Every loss and its gradient stay finite over all log-probs and token counts that a model can produce."""

import dataclasses

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import examples
from tests.loss_cases import PAIRED, UNPAIRED, settings_of, tensors
from thumbline.losses import LOSSES, PairLogps, UnpairedLogps, loss_config
from thumbline.losses.numerics import log1mexp, log_odds

# Sure tokens, values next to where 1 - exp(x) rounds to 0, an ordinary token, and completions as good as impossible.
EDGES = [0.0, -1e-12, -1e-9, -1e-8, -1e-7, -1e-4, -0.693147, -1.0, -20.0, -103.9, -200.0, -1e3, -1e5]
LOGPS = st.one_of(st.sampled_from(EDGES), st.floats(-1e5, 0.0, allow_subnormal=False))
COUNTS = st.sampled_from([0, 1, 2, 7, 512, 100_000])
# Not float16: the gradient of a squared loss leaves its range long before its log-probs do.
DTYPES = st.sampled_from([torch.bfloat16, torch.float32, torch.float64])


@st.composite
def pair_batches(draw):
    n, dtype = draw(st.integers(1, 4)), draw(DTYPES)

    def column(values, kind):
        return torch.tensor(draw(st.lists(values, min_size=n, max_size=n)), dtype=kind)

    return PairLogps(
        *(column(LOGPS, dtype) for _ in range(4)),
        *(column(COUNTS, torch.int64) for _ in range(2)),
        column(st.sampled_from([0.0, 0.5, 1.0]), torch.float32),
        column(st.sampled_from([0.0, 1.0, 3.0]), torch.float32),
    )


@st.composite
def thumb_batches(draw):
    n, dtype = draw(st.integers(1, 4)), draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))

    def column(values, kind):
        return torch.tensor(draw(st.lists(values, min_size=n, max_size=n)), dtype=kind)

    # All labels alike are drawn often: a class is absent then, and in every batch of one.
    labels = draw(st.sampled_from([st.just(True), st.just(False), st.booleans()]))
    return UnpairedLogps(
        policy_logps=column(LOGPS, dtype),
        labels=column(labels, torch.bool),
        reference_logps=column(LOGPS, dtype),
        policy_mismatched_logps=column(LOGPS, dtype),
        reference_mismatched_logps=column(LOGPS, dtype),
        desirable_probability=column(st.sampled_from([0.0, 0.3, 1.0]), torch.float32),
        token_counts=column(COUNTS, torch.int64),
    )


def assert_finite(name, batch, chosen_settings, leaves):
    if not LOSSES[name].takes_weights:
        batch = dataclasses.replace(batch, weights=None)
    batch = dataclasses.replace(batch, **{leaf: getattr(batch, leaf).requires_grad_() for leaf in leaves})
    found = LOSSES[name].function(batch, loss_config(name, chosen_settings))
    for key, value in tensors(found).items():
        assert bool(torch.isfinite(value).all()), f"{name}: {key} is {value.tolist()}"
        assert value.dtype in (torch.float32, torch.float64)
    gradients = torch.autograd.grad(found.losses.sum(), [getattr(batch, leaf) for leaf in leaves])
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert bool(torch.isfinite(gradient).all()), f"{name}: gradient by {leaf} is {gradient.tolist()}"


@pytest.mark.parametrize("name", PAIRED)
@examples(50)
@given(st.data())
def test_losses_of_pairs_are_finite(name, data):
    sides = ["policy_chosen_logps", "policy_rejected_logps"]
    assert_finite(name, data.draw(pair_batches()), data.draw(st.sampled_from(settings_of(name))), sides)


@pytest.mark.parametrize("name", UNPAIRED)
@examples(125)
@given(st.data())
def test_losses_of_thumbs_are_finite(name, data):
    assert_finite(name, data.draw(thumb_batches()), data.draw(st.sampled_from(settings_of(name))), ["policy_logps"])


@examples(50)
@given(thumb_batches(), st.sampled_from(EDGES))
def test_kto_with_a_given_reference_point_is_finite(batch, z0):
    assert_finite("kto", dataclasses.replace(batch, reference_point=torch.tensor(-z0)), {}, ["policy_logps"])


# log1mexp and log_odds.

DTYPE_AND_TOLERANCE = [(torch.float32, 2e-6), (torch.float64, 1e-13)]


@pytest.mark.parametrize("function", [log1mexp, log_odds])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("x", [0.0, -1e-12, -1e-9, -1e-8, -200.0, -1e5])
def test_value_and_gradient_are_finite_at_the_edges(function, dtype, x):
    at = torch.tensor(x, dtype=dtype, requires_grad=True)
    value = function(at)
    (gradient,) = torch.autograd.grad(value, [at])
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(gradient))


def exact_log1mexp(x):
    # By log1p: 1 - e^x keeps 60 digits in all, which for x below about -100 leaves too few of e^x itself.
    return mpmath.log1p(-mpmath.exp(mpmath.mpf(x)))


def exact_gradient(x):
    """d log(1 - e^x) / dx = -e^x / (1 - e^x)."""
    return mpmath.exp(mpmath.mpf(x)) / mpmath.expm1(mpmath.mpf(x))


def assert_near(found, exact, tolerance, smallest):
    """Within the tolerance, relative; below the type's smallest normal number, absolute."""
    assert abs(mpmath.mpf(found) - exact) <= tolerance * abs(exact) + smallest


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPE_AND_TOLERANCE)
@examples(150)
@given(
    x=st.one_of(st.floats(-1.0, -1e-6), st.floats(-50.0, -1.0), st.floats(-1e5, -50.0), st.just(-0.6931471805599453))
)
def test_log1mexp_and_its_gradient_are_exact(dtype, tolerance, x):
    at = torch.tensor(x, dtype=dtype, requires_grad=True)
    value = log1mexp(at)
    (gradient,) = torch.autograd.grad(value, [at])
    smallest = torch.finfo(dtype).tiny
    with mpmath.workdps(60):
        assert_near(float(value), exact_log1mexp(float(at)), tolerance, smallest)
        assert_near(float(gradient), exact_gradient(float(at)), tolerance, smallest)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPE_AND_TOLERANCE)
@given(x=st.one_of(st.floats(-1.0, -1e-6), st.floats(-1e5, -1.0)))
def test_log_odds_and_its_gradient_are_exact(dtype, tolerance, x):
    at = torch.tensor(x, dtype=dtype, requires_grad=True)
    value = log_odds(at)
    (gradient,) = torch.autograd.grad(value, [at])
    with mpmath.workdps(60):
        exact = mpmath.mpf(float(at)) - exact_log1mexp(float(at))
        # Near p = 1/2 the two terms cancel: what is left is exact to an ulp of the terms, not of itself.
        assert abs(mpmath.mpf(float(value)) - exact) <= tolerance * max(1, abs(exact))
        assert_near(float(gradient), 1 - exact_gradient(float(at)), tolerance, 0)


@given(st.floats(-1e5, 0.0), st.floats(-1e5, 0.0))
def test_log_odds_never_falls_as_the_probability_rises(one, other):
    low, high = sorted((one, other))
    odds = log_odds(torch.tensor([low, high], dtype=torch.float64))
    assert float(odds[1]) >= float(odds[0]) - 1e-12 * abs(float(odds[0]))


@pytest.mark.parametrize("x", [0.0, -1e-12, -1e-9, -1e-8])
def test_a_certain_completion_keeps_a_slope(x):
    """A rejected completion of probability one must still be pushed down."""
    at = torch.tensor(x, requires_grad=True)
    (slope,) = torch.autograd.grad(log_odds(at), at)
    assert slope > 1e6
