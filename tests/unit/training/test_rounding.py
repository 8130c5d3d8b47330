"""bfloat16 weights that are trained: steps too small for them add up, by chance or in a master copy."""

import pytest
import torch

from thumbline.pipeline.training import rounding
from thumbline.pipeline.training.rounding import WeightByWeight, round_into, stochastic_rounded

RATE, STEPS = 1e-4, 200


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_value_between_two_neighbours_is_the_upper_one_as_often_as_it_is_near():
    # Above 1, neighbours are 2^-7 apart; a quarter of the way up, the upper one is drawn a quarter of the time.
    lower, upper, draws = 1.0, 1.0 + 2**-7, 40_000
    rounded = stochastic_rounded(torch.full((draws,), lower + 2**-9), seeded()).float()
    assert set(rounded.unique().tolist()) == {lower, upper}
    # Four standard errors of a share of 1/4.
    assert float((rounded == upper).float().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / draws) ** 0.5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("size", [1e-30, 0.003, 1.9999, 7e8])
def test_the_mean_over_draws_is_the_value(sign, size):
    value, draws = sign * size, 40_000
    rounded = stochastic_rounded(torch.full((draws,), value), seeded()).double()
    # Neighbours are at most 2^-7 of the value apart, a draw's deviation at most half of that.
    assert float(rounded.mean()) == pytest.approx(value, rel=4 * 2**-8 / draws**0.5)


def test_what_bfloat16_holds_stays_as_it_is():
    values = torch.tensor([0.0, -0.0, 1.5, -3.0, float("inf"), float("-inf")]).repeat(1000)
    assert torch.equal(stochastic_rounded(values, seeded()).float(), values)


def test_a_nan_of_any_bits_stays_one():
    bits = torch.tensor([0x7FC00000, 0x7FFFFFFF, -1], dtype=torch.int32).repeat(100)
    assert stochastic_rounded(bits.view(torch.float32), seeded()).isnan().all()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 5), (2, 3, 7)])
def test_any_shape_is_rounded_and_one_seed_draws_the_same(shape):
    values = torch.randn(shape, generator=seeded(1))
    first, again, other = (stochastic_rounded(values.expand(shape), seeded(seed)) for seed in (0, 0, 5))
    assert first.shape == values.shape
    assert torch.equal(first, again)
    assert values.numel() < 4 or not torch.equal(first, other)


def test_columns_of_a_matrix_that_lies_the_other_way_round_keep_their_places():
    values = torch.arange(12.0).view(3, 4).T
    assert torch.equal(stochastic_rounded(values, seeded()).float(), values)


@pytest.mark.parametrize("shape", [(), (7,), (6, 5), (5, 3, 4)])
def test_every_block_of_rows_is_rounded(monkeypatch, shape):
    monkeypatch.setattr(rounding, "_BLOCK", 12)
    values = torch.randn(shape, generator=seeded())
    weight = torch.full(shape, 9.0, dtype=torch.bfloat16)
    round_into(weight, values, seeded())
    torch.testing.assert_close(weight.float(), values, atol=0, rtol=2**-7)


def adamw(_, stepped):
    return torch.optim.AdamW([stepped], lr=RATE, weight_decay=0.0)


def walked(way, steps=STEPS, seed=0):
    """The mean of weights of 1 after steps of AdamW that are each a fortieth of what is between two neighbours."""
    weight = torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
    optimizer = WeightByWeight([weight], adamw, rounding=way, rate=RATE, seed=seed)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return float(weight.detach().float().mean())


def test_small_steps_are_lost_by_plain_rounding_and_add_up_by_both_ways():
    weight = torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
    plain = torch.optim.AdamW([weight], lr=RATE, weight_decay=0.0)
    for _ in range(STEPS):
        weight.grad = torch.ones_like(weight)
        plain.step()
    assert torch.equal(weight, torch.ones_like(weight))
    # AdamW's step on a constant gradient is the learning rate: float32 ends at 1 - 200 x 1e-4.
    expected = 1.0 - STEPS * RATE
    # A weight's draws add up to a variance of at most 200 x 1e-4 x 2^-8; 4,096 weights are averaged, 4 errors allowed.
    assert walked("stochastic") == pytest.approx(expected, abs=4 * (STEPS * RATE * 2**-8 / 4096) ** 0.5)
    # The master's value is rounded to the nearest neighbour, at most 2^-9 away.
    assert walked("master") == pytest.approx(expected, abs=2**-9)


def test_the_seed_decides_the_draws_of_a_run_and_no_other_generator_does():
    state = torch.get_rng_state()
    first = walked("stochastic")
    torch.manual_seed(123)
    assert walked("stochastic") == first
    assert walked("stochastic", seed=1) != first
    torch.set_rng_state(state)


def test_draws_differ_from_step_to_step():
    weight = torch.nn.Parameter(torch.full((64,), 1.0, dtype=torch.bfloat16))
    optimizer = WeightByWeight([weight], adamw, rounding="stochastic", rate=2**-9, seed=0)
    moved = []
    for _ in range(4):
        weight.data.fill_(1.0)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        moved.append(tuple((weight != 1.0).tolist()))
    assert len(set(moved)) == 4


@pytest.mark.parametrize("way", ["stochastic", "master"])
def test_a_weight_without_a_gradient_stays_and_copies_hold_nothing_between_steps(way):
    weights = [torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16)) for _ in range(2)]
    optimizer = WeightByWeight(weights, adamw, rounding=way, rate=0.1, seed=0)
    weights[0].grad = torch.ones_like(weights[0])
    optimizer.step()
    assert torch.equal(weights[1], torch.ones_like(weights[1]))
    assert not torch.equal(weights[0], torch.ones_like(weights[0]))
    kept = [part.stepped.numel() for part in optimizer._parts]
    assert kept == ([8, 8] if way == "master" else [0, 0])
    assert len(optimizer.state_dict()["masters"]) == (2 if way == "master" else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_learning_rate_is_that_of_the_groups(dtype):
    weight = torch.nn.Parameter(torch.ones(64, dtype=dtype))
    optimizer = WeightByWeight([weight], adamw, rounding="master", rate=0.25, seed=0)
    for rate, expected in ((0.0, 1.0), (0.5, 0.5), (0.125, 0.375)):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        torch.testing.assert_close(weight.detach().float(), torch.full((64,), expected))
