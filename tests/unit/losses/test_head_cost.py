"""In which types a pass over the head computes and sums, and that it computes and keeps no more than it has to."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from thumbline.losses import head_pass, tiles
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


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("states_train", "weight_trains", "bias_trains", "kept_bytes", "forwards", "backwards"),
    [
        (False, False, False, 10**6, 3, None),  # logits of 20 rows in tiles of 7
        (True, False, False, 0, 6, 0),  # and each token's gradient on the way
        (True, True, False, 10**6, 3, 6),  # gradients of states and of rows
        (True, True, False, 0, 3, 9),  # with logits again
        (True, True, False, 12 * 7 * 4, 3, 8),  # with those of two tiles of three again
        (False, True, False, 10**6, 3, 3),  # no gradient of states
        (False, False, True, 10**6, 3, 0),  # a bias takes sums alone
    ],
)
def test_only_the_products_that_are_needed_are_computed(
    states_train, weight_trains, bias_trains, kept_bytes, forwards, backwards
):
    states, weight, targets = inputs()
    states, weight = states.detach().requires_grad_(states_train), weight.detach().requires_grad_(weight_trains)
    head = Head(weight, torch.zeros(20, requires_grad=bias_trains))
    with Products() as forward:
        found = token_logps(states, head, targets, 7, kept_bytes)
    assert forward.count == forwards
    if backwards is not None:
        with Products() as backward:
            found.sum().backward()
        assert backward.count == backwards


def test_with_a_frozen_head_only_each_tokens_gradient_is_kept():
    states, weight, targets = inputs()
    kept = token_logps(states, Head(weight.detach()), targets).grad_fn.saved_tensors
    assert [value.shape for value in kept] == [states.shape]


@pytest.mark.parametrize(
    ("kept_bytes", "tiles_kept"), [(10**6, 3), (12 * 20 * 4, 3), (12 * 20 * 4 - 1, 2), (12 * 7 * 4, 1), (0, 0)]
)
def test_no_more_than_the_stated_bytes_are_kept(kept_bytes, tiles_kept):
    states, weight, targets = inputs()
    saved = token_logps(states, Head(weight), targets, 7, kept_bytes).grad_fn.saved_tensors
    # States, weight, no bias, targets, two factors; then shares of 12 tokens in tiles of 7, 7 and 6 rows.
    assert [value.shape[1] for value in saved[6:]] == [7, 7, 6][:tiles_kept]


def test_where_no_gradient_is_wanted_none_is_prepared():
    states, weight, targets = inputs()
    with torch.no_grad(), Products() as products:
        found = token_logps(states, Head(weight.detach()), targets, 7)
    assert found.grad_fn is None
    assert products.count == 3


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("bias", "scale", "soft_cap"), [(False, 1.0, None), (True, 0.5, 3.0)])
def test_what_is_computed_again_is_the_same_to_the_last_bit(bias, scale, soft_cap, autocast, monkeypatch):
    monkeypatch.setattr("thumbline.losses.tiles._BLOCK_TOKENS", 5)
    states, weight, targets = inputs()
    offset = torch.linspace(-1, 1, 20).requires_grad_() if bias else None
    leaves = [leaf for leaf in (states, weight, offset) if leaf is not None]

    def gradients(kept_bytes):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = token_logps(states, Head(weight, offset, scale, soft_cap), targets, 7, kept_bytes)
        return torch.autograd.grad((found * torch.arange(12)).sum(), leaves)

    for ours in (gradients(0), gradients(300)):
        torch.testing.assert_close(ours, gradients(10**6), atol=0, rtol=0)


def test_shares_are_kept_in_the_type_of_the_products():
    states, weight, targets = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(states, Head(weight), targets, 7)
    assert {value.dtype for value in found.grad_fn.saved_tensors[6:]} == {torch.bfloat16}


def test_a_sure_tokens_gradient_keeps_its_digits_where_shares_are_rounded():
    # p = 1 - 4.5e-4 of two rows: rounded to bfloat16 it is 1, and 1 - p would be 0.
    states = torch.tensor([[1.0]], requires_grad=True)
    weight = torch.tensor([[4.0], [-3.7]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(states, Head(weight), torch.tensor([0]))
    _, by_weight = torch.autograd.grad(found.sum(), [states, weight])
    rounded = weight.detach().bfloat16().double()
    other = float((rounded[1] - rounded[0]).sigmoid())
    torch.testing.assert_close(by_weight.double(), torch.tensor([[other], [-other]]).double(), rtol=2**-8, atol=0)


def test_the_heads_weight_may_be_a_piece_of_a_larger_tensor():
    states, weight, targets = inputs()
    flat = torch.cat([torch.ones(3), weight.detach().flatten(), torch.ones(5)]).requires_grad_()
    piece = flat[3 : 3 + weight.numel()].view_as(weight)
    (by_flat,) = torch.autograd.grad(token_logps(states, Head(piece), targets, 7).sum(), flat)
    (by_weight,) = torch.autograd.grad(token_logps(states, Head(weight), targets, 7).sum(), weight)
    torch.testing.assert_close(by_flat[3 : 3 + weight.numel()].view_as(weight), by_weight, atol=0, rtol=0)
    assert not by_flat[:3].any() and not by_flat[-5:].any()


def test_a_backward_pass_can_be_taken_twice():
    states, weight, targets = inputs()
    found = token_logps(states, Head(weight), targets, 7).sum()
    first = torch.autograd.grad(found, [states, weight], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(found, [states, weight]), first, atol=0, rtol=0)


def test_a_base_in_half_precision_rounds_products_under_autocast_as_a_float32_one_does():
    states, weight, targets = inputs()
    narrow = weight.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, wide = token_logps(states, Head(narrow), targets), token_logps(states, Head(narrow.float()), targets)
    torch.testing.assert_close(found, wide, atol=0, rtol=0)


def test_rows_shut_out_by_a_bias_have_no_share_even_where_they_fill_a_tile():
    states, weight, targets = inputs()
    bias = torch.zeros(20)
    bias[7:14] = -torch.inf
    targets = targets % 7
    found = token_logps(states, Head(weight, bias), targets, 7)
    open_rows = torch.cat([weight[:7], weight[14:]])
    torch.testing.assert_close(found, plain(states, open_rows, targets))
    (by_weight,) = torch.autograd.grad(found.sum(), weight)
    assert not by_weight[7:14].any() and by_weight.isfinite().all()


def test_statistics_that_nobody_asked_for_are_empty():
    states, weight, targets = inputs()
    settings = tiles.Settings(scale=1.0, soft_cap=None, tile=7, compute_dtype=torch.float32, rounded_products=False)
    found = head_pass.HeadOutput(*head_pass.HeadPass.apply(states, weight, None, targets, settings))
    assert (found.entropies.shape, found.log_sum_squares.shape) == ((0,), (0,))
