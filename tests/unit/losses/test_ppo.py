import math

import pytest
import torch

from thumbline.losses.ppo import (
    PPOConfig,
    generalised_advantages,
    masked_mean,
    policy_losses,
    shaped_rewards,
    value_losses,
    whitened,
)

MASK = torch.tensor([[True, True, False], [True, True, True]])


def test_the_score_comes_at_the_last_token_and_the_kl_at_each():
    logps = torch.tensor([[-1.0, -2.0, -9.0], [-1.0, -1.0, -1.0]])
    reference = torch.tensor([[-1.5, -1.0, 0.0], [-1.0, -2.0, -1.0]])
    found = shaped_rewards(torch.tensor([3.0, 5.0]), logps, reference, MASK, PPOConfig(kl_coefficient=0.1))
    torch.testing.assert_close(found, torch.tensor([[-0.05, 3.1, 0.0], [0.0, -0.1, 5.0]]))


def test_advantages_by_hand():
    config = PPOConfig(discount=0.9, trace_decay=0.5)
    rewards, values = torch.tensor([[0.0, 3.0, 7.0]]), torch.tensor([[1.0, 2.0, 7.0]])
    found = generalised_advantages(rewards, values, MASK[:1], config)
    # last token: 3 - 2 = 1; first: 0 + 0.9 * 2 - 1 + 0.45 * 1 = 1.25
    torch.testing.assert_close(found.advantages, torch.tensor([[1.25, 1.0, 0.0]]))
    torch.testing.assert_close(found.returns, torch.tensor([[2.25, 3.0, 0.0]]))


def test_advantages_of_a_trace_without_decay_are_returns_less_values():
    config = PPOConfig(discount=1.0, trace_decay=1.0)
    rewards, values = torch.randn(2, 3), torch.randn(2, 3)
    found = generalised_advantages(rewards, values, torch.ones(2, 3, dtype=torch.bool), config)
    torch.testing.assert_close(found.returns, rewards.flip(1).cumsum(1).flip(1))


def test_tokens_that_lie_apart_follow_each_other():
    config = PPOConfig()
    rewards, values = torch.randn(1, 5), torch.randn(1, 5)
    apart = torch.tensor([[True, False, True, False, True]])
    found = generalised_advantages(rewards, values, apart, config)
    close = generalised_advantages(rewards[:, ::2], values[:, ::2], apart[:, ::2], config)
    torch.testing.assert_close(found.advantages[:, ::2], close.advantages)
    assert not found.advantages[:, 1::2].any() and not found.returns[:, 1::2].any()


def test_the_policy_loss_by_hand():
    old = torch.zeros(1, 4)
    new = torch.log(torch.tensor([[1.5, 1.5, 0.5, 0.5]])).requires_grad_()
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    losses = policy_losses(new, old, advantages, torch.ones(1, 4, dtype=torch.bool), PPOConfig())
    torch.testing.assert_close(losses, torch.tensor([[-1.2, 1.5, -0.5, 0.8]]))
    (gradient,) = torch.autograd.grad(losses.sum(), new)
    # clipped where a further step in the same direction would gain nothing
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.5, -0.5, 0.0]]))


def test_the_value_loss_takes_the_worse_of_both():
    new, old, returns = torch.tensor([[2.0, 0.1]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 1.0]])
    losses = value_losses(new, old, returns, torch.ones(1, 2, dtype=torch.bool), PPOConfig(value_clip_range=0.5))
    torch.testing.assert_close(losses, torch.tensor([[0.5 * 1.5**2, 0.5 * 0.9**2]]))


def test_the_policy_loss_depends_on_the_change_of_the_log_prob_alone():
    old, everywhere = torch.tensor([[-2.0, -0.5, -7.0]]), torch.ones(1, 3, dtype=torch.bool)
    advantages = torch.tensor([[1.0, -1.0, 0.5]])
    shifted = policy_losses(old + 0.1, old, advantages, everywhere, PPOConfig())
    torch.testing.assert_close(shifted, -advantages * math.exp(0.1))


def test_a_log_ratio_ends_at_20_either_way():
    old, everywhere = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    new = torch.tensor([[-50.0, 50.0]])
    # -A rho is the larger term where rho is small and A above 0, and where rho is large and A below 0.
    losses = policy_losses(new, old, torch.tensor([[1.0, -1.0]]), everywhere, PPOConfig())
    torch.testing.assert_close(losses, torch.tensor([[-math.exp(-20.0), math.exp(20.0)]]), atol=0, rtol=1e-6)


def test_the_value_loss_by_hand():
    old = torch.tensor([[1.0, 1.0, 1.0, 1.0, -1.0]])
    new = torch.tensor([[3.0, -1.0, -1.0, 1.25, -1.0]])
    returns = torch.tensor([[-1.0, 3.0, -1.0, 1.0, 0.0]])
    losses = value_losses(new, old, returns, torch.ones(1, 5, dtype=torch.bool), PPOConfig(value_clip_range=0.5))
    # Unclipped is worse in the first two: 4 away, where the clipped ones, 1.5 and 0.5, lie 2.5 away. The third is right
    # unclipped and 1.5 away clipped. Within the range both agree: 0.25 and 1 away.
    torch.testing.assert_close(losses, torch.tensor([[8.0, 8.0, 1.125, 0.03125, 0.5]]))


def test_the_value_losss_gradient_is_the_distance_where_unclipped():
    new = torch.tensor([[1.25, 3.0]], requires_grad=True)
    old, returns = torch.ones(1, 2), torch.tensor([[0.0, 2.0]])
    losses = value_losses(new, old, returns, torch.ones(1, 2, dtype=torch.bool), PPOConfig(value_clip_range=0.5))
    (gradient,) = torch.autograd.grad(losses.sum(), new)
    torch.testing.assert_close(gradient, torch.tensor([[1.25, 1.0]]))


def test_the_score_comes_at_the_last_token_wherever_the_response_begins():
    mask = torch.tensor([[False, True, False, True, False], [False, False, False, True, False], [False] * 5])
    zeros = torch.zeros(3, 5)
    found = shaped_rewards(torch.tensor([3.0, 5.0, 7.0]), zeros, zeros, mask, PPOConfig())
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 0, 3, 0], [0.0, 0, 0, 5, 0], [0.0] * 5]))


def test_only_what_is_trained_takes_a_gradient():
    leaves = {name: torch.randn(2, 3, requires_grad=True) for name in ("new", "old", "third")}
    everywhere, config = torch.ones(2, 3, dtype=torch.bool), PPOConfig()
    for losses in (policy_losses, value_losses):
        found = losses(*leaves.values(), everywhere, config)
        gradients = torch.autograd.grad(found.sum(), list(leaves.values()), allow_unused=True)
        assert [gradient is None for gradient in gradients] == [False, True, True]
    rewards = shaped_rewards(leaves["new"][:, 0], leaves["old"], leaves["third"], everywhere, config)
    found = generalised_advantages(leaves["new"], leaves["old"], everywhere, config)
    assert not any(value.requires_grad for value in (rewards, *found))


def test_half_precision_is_computed_with_in_float32():
    half = [torch.randn(2, 3).bfloat16() for _ in range(3)]
    wide = [value.float() for value in half]
    config = PPOConfig()

    def results(one, other, third):
        yield shaped_rewards(one[:, 0], other, third, MASK, config)
        yield from generalised_advantages(one, other, MASK, config)
        yield policy_losses(one, other, third, MASK, config)
        yield value_losses(one, other, third, MASK, config)

    for found, expected in zip(results(*half), results(*wide), strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize("outside", [math.nan, math.inf, -math.inf])
def test_not_even_nan_outside_the_mask_reaches_a_result_or_a_gradient(outside):
    clean = [torch.randn(2, 3) for _ in range(3)]
    wild = [value.masked_fill(~MASK, outside) for value in clean]
    config = PPOConfig()

    def results(one, other, third):
        yield shaped_rewards(torch.tensor([1.0, 2.0]), one, other, MASK, config)
        yield from generalised_advantages(one, other, MASK, config)
        yield whitened(one, MASK)
        yield policy_losses(one, other, third, MASK, config)
        yield value_losses(one, other, third, MASK, config)

    for found, expected in zip(results(*wild), results(*clean), strict=True):
        torch.testing.assert_close(found, expected)
        assert not found[~MASK].any()
    for losses in (policy_losses, value_losses):
        leaf = wild[0].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(leaf, *wild[1:], MASK, config).sum(), leaf)
        assert gradient.isfinite().all() and not gradient[~MASK].any()


def test_a_response_of_one_token():
    mask = torch.ones(1, 1, dtype=torch.bool)
    found = generalised_advantages(torch.tensor([[3.0]]), torch.tensor([[1.0]]), mask, PPOConfig())
    assert (found.advantages.tolist(), found.returns.tolist()) == ([[2.0]], [[3.0]])
    assert float(masked_mean(torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]]))) == 3.0


def test_the_ends_of_each_range_are_taken():
    PPOConfig(kl_coefficient=0.0, discount=0.0, trace_decay=0.0)
    PPOConfig(discount=1.0, trace_decay=1.0)


def test_what_lies_outside_the_mask_changes_nothing():
    config = PPOConfig()
    wild = torch.tensor([[0.0, 0.0, 1e9], [0.0, 0.0, 0.0]])
    new, old, advantages = torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3)
    for losses in (
        policy_losses(new + wild, old, advantages + wild, MASK, config),
        value_losses(new + wild, old, advantages, MASK, config),
    ):
        assert losses[0, 2] == 0 and losses.isfinite().all()


def test_wild_ratios_stay_finite():
    new = torch.tensor([[1e5, -1e5]], requires_grad=True)
    losses = policy_losses(new, torch.zeros(1, 2), torch.tensor([[-1.0, -1.0]]), MASK[1:, :2], PPOConfig())
    (gradient,) = torch.autograd.grad(losses.sum(), new)
    assert losses.isfinite().all() and gradient.isfinite().all()


def test_whitened_advantages_have_mean_0_and_variance_1():
    found = whitened(torch.randn(2, 3) * 7 + 3, MASK)
    assert float(masked_mean(found, MASK)) == pytest.approx(0, abs=1e-6)
    assert float(masked_mean(found**2, MASK)) == pytest.approx(1, abs=1e-4)
    assert not whitened(torch.full((2, 3), 4.0), MASK).any()
    assert float(masked_mean(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))) == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kl_coefficient", -1.0),
        ("clip_range", 0.0),
        ("value_clip_range", 0.0),
        ("discount", 1.1),
        ("trace_decay", math.nan),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        PPOConfig(**{name: value})
