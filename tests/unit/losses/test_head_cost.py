"""In which types a pass over the head computes and sums, and that it computes and keeps no more than it has to."""

import pytest
import torch

from thumbline.losses import tiles
from thumbline.losses.logps import Head, token_logps


def inputs(dtype=torch.float32, tokens=12, hidden=8, vocabulary=20):
    """All above 0, so that sums grow and a narrow one would stop growing."""
    generator = torch.Generator().manual_seed(0)
    states = torch.rand(tokens, hidden, generator=generator).to(dtype).requires_grad_()
    weight = torch.rand(vocabulary, hidden, generator=generator).to(dtype).requires_grad_()
    return states, weight, torch.randint(vocabulary, (tokens,), generator=generator)


def plain(states, weight, targets):
    return (states @ weight.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("default_dtype", [torch.bfloat16, torch.float64], indirect=True)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_default_type_of_the_callers_changes_nothing(default_dtype, frozen):
    states, weight, targets = (value.to(torch.float32) if value.is_floating_point() else value for value in inputs())
    states, weight = states.detach().requires_grad_(), weight.detach().requires_grad_(not frozen)
    found = token_logps(states, Head(weight), targets, 7)
    torch.testing.assert_close(found, plain(states, weight, targets))
    (gradient,) = torch.autograd.grad(found.sum(), states)
    assert gradient.dtype == torch.float32


def test_autocast_on_a_cpu_rounds_products_to_its_type():
    states, weight, targets = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(states, Head(weight), targets)
    rounded = (states.bfloat16() @ weight.bfloat16().T).float()
    torch.testing.assert_close(found, rounded.log_softmax(-1).gather(1, targets[:, None])[:, 0])
    assert (found - plain(states, weight, targets)).abs().max() > 1e-4


def test_the_heads_type_is_that_of_the_operands_and_products_are_float32():
    states, weight, targets = inputs()
    narrow = weight.detach().bfloat16()
    found = token_logps(states, Head(narrow), targets)
    torch.testing.assert_close(found, plain(states.bfloat16().float(), narrow.float(), targets))
    found = token_logps(states.bfloat16(), Head(weight), targets)
    torch.testing.assert_close(found, plain(states.bfloat16().float(), weight, targets))


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_of_half_precision_states_are_summed_over_tiles_in_float32(frozen):
    states, weight, targets = inputs(torch.bfloat16, vocabulary=2000)
    head = Head(weight.detach() if frozen else weight)
    (found,) = torch.autograd.grad(token_logps(states, head, targets, 4).sum(), states)
    wide = states.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(plain(wide, weight.detach().double(), targets).sum(), wide)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-7, atol=2**-9)


def test_gradients_of_a_half_precision_head_are_summed_over_blocks_in_float32(monkeypatch):
    monkeypatch.setattr("thumbline.losses.tiles._BLOCK_TOKENS", 2)
    states, weight, _ = inputs(torch.bfloat16, tokens=1000, vocabulary=4)
    bias, targets = torch.zeros(4, dtype=torch.bfloat16, requires_grad=True), torch.zeros(1000, dtype=torch.int64)
    found = torch.autograd.grad(token_logps(states, Head(weight, bias), targets).sum(), [weight, bias])
    leaves = [weight.detach().double().requires_grad_(), bias.detach().double().requires_grad_()]
    logits = states.detach().double() @ leaves[0].T + leaves[1]
    exact = torch.autograd.grad(logits.log_softmax(-1)[:, 0].sum(), leaves)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2**-7, atol=0)


def test_one_hidden_dimension_is_enough():
    states, weight, targets = inputs(hidden=1)
    ours = torch.autograd.grad(token_logps(states, Head(weight), targets, 7).sum(), [states, weight])
    theirs = torch.autograd.grad(plain(states, weight, targets).sum(), [states, weight])
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("states_train", "weight_trains", "bias_trains", "forwards", "backwards"),
    [
        (False, False, False, 3, None),  # logits of 20 rows in tiles of 7
        (True, False, False, 6, 0),  # and each token's gradient on the way
        (True, True, False, 3, 9),  # logits again, gradients of states and of rows
        (False, False, True, 3, 6),  # no gradient of rows
    ],
)
def test_only_the_products_that_are_needed_are_computed(
    states_train, weight_trains, bias_trains, forwards, backwards, monkeypatch
):
    calls, product = [], tiles._product
    monkeypatch.setattr(tiles, "_product", lambda *args: calls.append(1) or product(*args))
    states, weight, targets = inputs()
    states, weight = states.detach().requires_grad_(states_train), weight.detach().requires_grad_(weight_trains)
    found = token_logps(states, Head(weight, torch.zeros(20, requires_grad=bias_trains)), targets, 7)
    assert len(calls) == forwards
    if backwards is not None:
        found.sum().backward()
        assert len(calls) == forwards + backwards


def test_with_a_frozen_head_only_each_tokens_gradient_is_kept():
    states, weight, targets = inputs()
    kept = token_logps(states, Head(weight.detach()), targets).grad_fn.saved_tensors
    assert [None if value is None else value.shape for value in kept] == [None] * 5 + [states.shape]


def test_statistics_that_nobody_asked_for_are_empty():
    states, weight, targets = inputs()
    settings = tiles.Settings(scale=1.0, soft_cap=None, tile=7, compute_dtype=torch.float32, rounded_products=False)
    found = tiles.HeadOutput(*tiles.HeadPass.apply(states, weight, None, targets, settings))
    assert (found.entropies.shape, found.log_sum_squares.shape) == ((0,), (0,))
