import pytest
import torch

from thumbline.losses.logps import Head, by_position, completion_logps, token_logps, token_statistics


def inputs(dtype=torch.float32, tokens=37, hidden=16, vocabulary=50, seed=0, bias=False):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(tokens, hidden, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, hidden, generator=generator).to(dtype).requires_grad_()
    offset = torch.randn(vocabulary, generator=generator).to(dtype).requires_grad_() if bias else None
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    upstream = torch.randn(tokens, generator=generator)
    return states, weight, offset, targets, upstream


def plain(states, weight, bias, targets, scale=1.0, soft_cap=None):
    logits = (
        torch.nn.functional.linear(states.double(), weight.double(), None if bias is None else bias.double()) * scale
    )
    if soft_cap is not None:
        logits = soft_cap * torch.tanh(logits / soft_cap)
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("soft_cap", [None, 5.0])
@pytest.mark.parametrize("scale", [1.0, 0.25, 2.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("tile", "block", "kept_bytes"),
    [(7, 4096, 10**6), (7, 4096, 0), (1000, 4096, 10**6), (7, 10, 2000), (7, 10, 0), (1, 4096, 10**6)],
)
def test_values_and_gradients_are_those_of_full_logits_in_float64(
    bias, scale, soft_cap, tile, block, kept_bytes, monkeypatch
):
    monkeypatch.setattr("thumbline.losses.tiles._BLOCK_TOKENS", block)
    states, weight, offset, targets, upstream = inputs(bias=bias)
    found = token_logps(states, Head(weight, offset, scale, soft_cap), targets, tile, kept_bytes)
    exact = plain(states, weight, offset, targets, scale, soft_cap)
    torch.testing.assert_close(found, exact.float(), atol=1e-5, rtol=1e-5)
    leaves = [leaf for leaf in (states, weight, offset) if leaf is not None]
    ours = torch.autograd.grad((found * upstream).sum(), leaves)
    theirs = torch.autograd.grad((exact * upstream.double()).sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_frozen_head_gives_the_same_gradient_and_computes_logits_once(monkeypatch):
    states, weight, _, targets, upstream = inputs()
    (trained, _) = torch.autograd.grad(
        (token_logps(states, Head(weight), targets, 8) * upstream).sum(), [states, weight]
    )
    calls = []
    from thumbline.losses import tiles

    original = tiles._tile_logits
    monkeypatch.setattr(tiles, "_tile_logits", lambda *args: calls.append(1) or original(*args))
    (frozen,) = torch.autograd.grad((token_logps(states, Head(weight.detach()), targets, 8) * upstream).sum(), [states])
    torch.testing.assert_close(frozen, trained)
    assert len(calls) == 7  # 50 head rows in tiles of 8, in the forward pass only


@pytest.mark.parametrize("soft_cap", [None, 5.0])
@pytest.mark.parametrize("scale", [1.0, 0.25, 2.0])
@pytest.mark.parametrize("bias", [False, True])
def test_a_frozen_heads_gradient_is_that_of_full_logits(bias, scale, soft_cap):
    states, weight, offset, targets, upstream = inputs(bias=bias)
    frozen = Head(weight.detach(), None if offset is None else offset.detach(), scale, soft_cap)
    (ours,) = torch.autograd.grad((token_logps(states, frozen, targets, 7) * upstream).sum(), [states])
    exact = plain(states, weight, offset, targets, scale, soft_cap)
    (theirs,) = torch.autograd.grad((exact * upstream.double()).sum(), [states])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_trained_bias_under_a_frozen_weight_gets_its_gradient():
    states, weight, offset, targets, upstream = inputs(bias=True)
    (ours,) = torch.autograd.grad(
        (token_logps(states, Head(weight.detach(), offset), targets, 7) * upstream).sum(), [offset]
    )
    exact = plain(states, weight, offset, targets)
    (theirs,) = torch.autograd.grad((exact * upstream.double()).sum(), [offset])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_tile_without_rows_is_refused():
    states, weight, _, targets, _ = inputs()
    with pytest.raises(ValueError, match="tile must be at least 1"):
        token_logps(states, Head(weight), targets, 0)
    with pytest.raises(ValueError, match="tile must be at least 1"):
        completion_logps(states[None], Head(weight), targets[None], torch.arange(37)[None] > 0, 0)


def test_bytes_below_zero_are_refused():
    states, weight, _, targets, _ = inputs()
    with pytest.raises(ValueError, match="kept_bytes must be at least 0, not -1"):
        token_logps(states, Head(weight), targets, kept_bytes=-1)


def test_the_sum_of_512_tokens_in_bfloat16_stays_within_0_02_nat():
    states, weight, _, targets, _ = inputs(torch.bfloat16, tokens=512, hidden=64, vocabulary=1000)
    weight = (weight / 8).detach()
    found = token_logps(states.detach(), Head(weight), targets)
    exact = plain(states, weight, None, targets).sum().detach()
    assert abs(float(found.double().sum() - exact)) < 0.02


def test_autocast_computes_in_its_type_and_gives_float32_gradients():
    states, weight, _, targets, upstream = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(states, Head(weight), targets)
    assert found.dtype == torch.float32
    grads = torch.autograd.grad((found * upstream).sum(), [states, weight])
    assert all(grad.dtype == torch.float32 for grad in grads)
    torch.testing.assert_close(found, plain(states, weight, None, targets).float(), atol=0.15, rtol=0.05)


def test_rows_sum_their_own_completion_tokens_only():
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(2, 6, 8, generator=generator), torch.randn(20, 8, generator=generator)
    ids = torch.randint(20, (2, 6), generator=generator)
    mask = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0]], dtype=torch.bool)
    found = completion_logps(hidden, Head(weight), ids, mask)
    every = (hidden @ weight.T).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(found.logps, (every * mask[:, 1:]).double().sum(1))
    assert found.token_counts.tolist() == [2, 4]


def test_no_completion_token_gives_zero_and_a_zero_gradient():
    hidden = torch.randn(1, 3, 4, requires_grad=True)
    found = completion_logps(
        hidden, Head(torch.randn(5, 4)), torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool)
    )
    assert found.logps.tolist() == [0.0]
    (gradient,) = torch.autograd.grad(found.logps.sum(), [hidden])
    assert not gradient.any()


def test_a_completion_at_position_zero_is_refused():
    mask = torch.tensor([[True, False], [False, True]])
    with pytest.raises(ValueError, match="1 of 2 completions start at position 0"):
        completion_logps(torch.zeros(2, 2, 4), Head(torch.zeros(5, 4)), torch.zeros(2, 2, dtype=torch.int64), mask)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("tile", "block"), [(7, 4096), (1000, 4096), (7, 10)])
def test_statistics_are_those_of_full_logits_and_leave_log_probs_and_gradients_alone(tile, block, frozen, monkeypatch):
    monkeypatch.setattr("thumbline.losses.tiles._BLOCK_TOKENS", block)
    states, weight, offset, targets, upstream = inputs(bias=True)
    head = Head(weight.detach() if frozen else weight, offset.detach(), 0.5, 4.0)
    found = token_statistics(states, head, targets, tile)
    logits = 4.0 * torch.tanh((states.double() @ weight.double().T + offset.double()) * 0.5 / 4.0)
    every = logits.log_softmax(-1).detach()
    torch.testing.assert_close(found.entropies, -(every.exp() * every).sum(-1).float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.log_sum_squares, (2 * every).logsumexp(-1).float(), atol=1e-5, rtol=1e-5)
    assert not found.entropies.requires_grad and not found.log_sum_squares.requires_grad
    alone = token_logps(states, head, targets, tile)
    torch.testing.assert_close(found.logps, alone, atol=0, rtol=0)
    (with_statistics,) = torch.autograd.grad((found.logps * upstream).sum(), [states])
    (without,) = torch.autograd.grad((alone * upstream).sum(), [states])
    torch.testing.assert_close(with_statistics, without, atol=0, rtol=0)


def test_a_sure_and_a_clueless_token_have_their_entropies():
    weight = torch.tensor([[200.0], [0.0], [0.0], [0.0]])
    found = token_statistics(torch.tensor([[1.0], [0.0]]), Head(weight), torch.tensor([0, 3]), 3)
    # All on one token: entropy 0, sum of squares 1. Even over four: entropy ln 4, sum of squares 1/4.
    assert found.entropies.tolist() == pytest.approx([0.0, 1.386294], abs=1e-5)
    assert found.log_sum_squares.tolist() == pytest.approx([0.0, -1.386294], abs=1e-5)
    assert found.logps.tolist() == pytest.approx([0.0, -1.386294], abs=1e-5)


def test_no_entropy_lies_below_zero_where_logits_are_large():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(256, 4, generator=generator) * 20
    found = token_statistics(states, Head(torch.randn(60, 4, generator=generator) * 20), torch.arange(256) % 60, 7)
    assert float(found.entropies.min()) == 0.0


def test_log_probs_alone_compute_no_statistics(monkeypatch):
    monkeypatch.setattr("thumbline.losses.tiles._spread", None)
    states, weight, _, targets, _ = inputs()
    assert token_logps(states, Head(weight), targets).shape == targets.shape


def test_values_go_back_to_their_positions():
    mask = torch.tensor([[False, True, True], [True, False, False], [False, False, False]])
    placed = by_position(torch.tensor([-1.0, -2.0, -3.0]), mask)
    assert placed.tolist() == [[0.0, -1.0, -2.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("wrong", [-100, -1, 50])
def test_a_target_outside_the_vocabulary_is_refused(wrong):
    states, weight, _, targets, _ = inputs()
    targets[3] = wrong
    with pytest.raises(ValueError, match="1 of 37 targets are no token of the head's 50"):
        token_logps(states, Head(weight), targets)
