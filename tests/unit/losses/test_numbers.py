"""Worked numbers: each expected value follows from the method's equation by hand."""

import math
import statistics

import pytest
import torch

from tests.loss_cases import DEFAULTS, PAIRED
from thumbline.losses import LOSSES, PairLogps, UnpairedLogps, loss_config, reward_bce_loss, reward_model_loss
from thumbline.losses.running import MovingMoments


def batch(values, counts=None, **other):
    made = [torch.tensor(value, dtype=torch.float64) for value in values]
    return PairLogps(*made, *([] if counts is None else [torch.tensor(count) for count in counts]), **other)


def losses(method, made, **settings):
    return LOSSES[method].function(made, loss_config(method, settings)).losses.tolist()


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


ONE = ([-1.0], [-3.0], [-2.0], [-2.5])  # log-ratios 1 and -0.5
COUNTS = ([2], [5])
WORKED = [
    ("dpo", {"label_smoothing": 0.1}, 0.9 * 0.620957 + 0.1 * 0.770957),
    ("dpo", {"label_smoothing": 0.1, "robust": True}, (0.9 * 0.620957 - 0.1 * 0.770957) / 0.8),
    ("ipo", {"reading": "sum"}, (1.5 - 5) ** 2),
    ("ipo", {}, (1 / 2 + 0.5 / 5 - 5) ** 2),
    ("hinge", {}, 0.85),
    ("dpo_norm", {"beta": 2.0}, -math.log(sigmoid(2 * (0.5 + 0.1)))),
    (
        "dpo_norm",
        {"beta": 2.0, "label_smoothing": 0.2},
        -0.8 * math.log(sigmoid(2 * (0.5 + 0.1))) - 0.2 * math.log(sigmoid(-2 * (0.5 + 0.1))),
    ),
    ("dpop", {"lambda_dpop": 3.0}, 0.620957),  # chosen rose: no penalty
    ("chi_po", {}, -math.log(sigmoid(0.1 * (math.e + 1 - math.exp(-0.5) + 0.5)))),
    ("chi_po", {"reward_bound": 0.1}, -math.log(sigmoid(0.2))),
    ("beta_dpo", {}, 0.620957),  # the first batch is its own mean
    ("rpo", {"alpha": 2.0}, 0.620957 + 2 * 0.5),
    ("rpo", {"alpha": 2.0, "label_smoothing": 0.1}, 0.9 * 0.620957 + 0.1 * 0.770957 + 2 * 0.5),
    ("f_dpo", {"divergence": "reverse_kl", "label_smoothing": 0.1}, 0.9 * 0.620957 + 0.1 * 0.770957),
    ("f_dpo", {"divergence": "forward_kl"}, -math.log(sigmoid(0.1 * (math.exp(0.5) - math.exp(-1))))),
    ("f_dpo", {"divergence": "jensen_shannon"}, -math.log(sigmoid(0.1 * math.log(sigmoid(1) / sigmoid(-0.5))))),
    (
        "f_dpo",
        {"divergence": "alpha", "alpha": 3.0},
        -math.log(sigmoid(0.1 * ((math.exp(2) - 1) - (math.exp(-1) - 1)) / 2)),
    ),
    (
        "exo",
        {"label_smoothing": 0.1},
        sigmoid(0.15) * math.log(sigmoid(0.15) / 0.9) + sigmoid(-0.15) * math.log(sigmoid(-0.15) / 0.1),
    ),
    (
        "nca",
        {},
        -math.log(sigmoid(0.1)) - 0.5 * math.log(sigmoid(-0.1)) - 0.5 * math.log(sigmoid(0.05)),
    ),
    ("apo_zero", {}, 1 - sigmoid(0.1) + sigmoid(-0.05)),
    ("apo_down", {}, sigmoid(0.1) + 1 - sigmoid(0.15)),
    ("sppo", {}, (1 - 5) ** 2 + (-0.5 + 5) ** 2),
    ("bco_pair", {}, -math.log(sigmoid(0.1)) - math.log(sigmoid(0.05))),
    ("bco_pair", {"shift": "batch"}, -2 * math.log(sigmoid(0.075))),
    ("discopop", {}, -math.log(sigmoid(0.15)) * sigmoid(-3.0) + math.exp(-0.15) * sigmoid(3.0)),
    ("aot", {}, 0.620957),
    ("aot_unpaired", {}, 0.620957),
    ("cpo", {"alpha": 2.0}, -math.log(sigmoid(0.2)) + 2 * 0.5),
    ("simpo", {"gamma": 0.5}, -math.log(sigmoid(2 * (-0.5 + 0.6) - 0.5))),
    ("simpo", {"gamma": 0.5, "gamma_unit": "mean_logps"}, -math.log(sigmoid(2 * (-0.5 + 0.6 - 0.5)))),
    (
        "alphapo",
        {"beta": 2.0, "gamma": 0.1, "alpha": 0.5},
        -math.log(sigmoid(2 * (math.exp(0.3) - math.exp(0.25)) / 0.5 - 0.1)),
    ),
    ("alphapo", {"beta": 2.0, "gamma": 0.5, "alpha": 0.0}, -math.log(sigmoid(2 * (-0.5 + 0.6) - 0.5))),
    (
        "orpo",
        {"lambda_orpo": 0.1},
        0.5 + 0.1 * math.log(1 + (math.exp(-0.6) / (1 - math.exp(-0.6))) / (math.exp(-0.5) / (1 - math.exp(-0.5)))),
    ),
]


@pytest.mark.parametrize(("method", "settings", "expected"), WORKED)
def test_worked_pairs(method, settings, expected):
    assert losses(method, batch(ONE, COUNTS), **settings) == pytest.approx([expected], abs=2e-6)


def test_every_paired_method_of_our_own_has_a_worked_number():
    assert {method for method, _, _ in WORKED} == {name for name in PAIRED if name in DEFAULTS}


# What each method calls a reward, chosen then rejected.
REWARDS = [
    *(
        (name, {"beta": 0.2}, (0.2, -0.1))
        for name in (
            *("dpo", "rpo", "hinge", "exo", "nca", "apo_zero", "apo_down", "sppo", "bco_pair", "discopop"),
            *("aot", "aot_unpaired", "dpop", "beta_dpo"),
        )
    ),
    ("ipo", {"reading": "sum"}, (0.1, -0.05)),
    ("ipo", {"reading": "mean"}, (0.1 / 2, -0.05 / 5)),
    ("dpo_norm", {"beta": 5.0}, (5 * 1 / 2, 5 * -0.5 / 5)),
    ("f_dpo", {"divergence": "reverse_kl"}, (0.1, -0.05)),
    ("f_dpo", {"divergence": "forward_kl"}, (0.1 * (1 - math.exp(-1)), 0.1 * (1 - math.exp(0.5)))),
    ("f_dpo", {}, (0.1 * math.log(2 * sigmoid(1)), 0.1 * math.log(2 * sigmoid(-0.5)))),
    (
        "f_dpo",
        {"divergence": "alpha", "alpha": 3.0},
        (0.1 * (math.exp(2) - 1) / 2, 0.1 * (math.exp(-1) - 1) / 2),
    ),
    ("chi_po", {"beta": 0.2}, (0.2 * math.e, 0.2 * (math.exp(-0.5) - 1 - 0.5))),
    ("orpo", {"lambda_orpo": 0.3}, (0.3 * -0.5, 0.3 * -0.6)),
    ("simpo", {"beta": 3.0}, (3 * -0.5, 3 * -0.6)),
    ("alphapo", {"beta": 2.0, "alpha": 0.5}, (4 * (1 - math.exp(0.25)), 4 * (1 - math.exp(0.3)))),
    ("alphapo", {"beta": 2.0, "alpha": 0.0}, (2 * -0.5, 2 * -0.6)),
    ("cpo", {"beta": 0.2}, (0.2 * -1, 0.2 * -3)),
]


@pytest.mark.parametrize(("method", "settings", "expected"), REWARDS)
def test_worked_rewards(method, settings, expected):
    found = LOSSES[method].function(batch(ONE, COUNTS), loss_config(method, settings))
    assert (*found.chosen_rewards.tolist(), *found.rejected_rewards.tolist()) == pytest.approx(expected, abs=1e-12)


def test_every_paired_method_of_our_own_has_a_worked_reward():
    assert {method for method, _, _ in REWARDS} == {name for name in PAIRED if name in DEFAULTS}


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_exo_keeps_a_sure_label_within_its_smoothing(certain):
    made = batch(ONE, chosen_better_probability=torch.tensor([certain], dtype=torch.float64))
    label = 0.9 if certain else 0.1
    expected = sigmoid(0.15) * math.log(sigmoid(0.15) / label) + sigmoid(-0.15) * math.log(sigmoid(-0.15) / (1 - label))
    assert losses("exo", made, label_smoothing=0.1, soft_labels=True) == pytest.approx([expected])


def test_dpop_holds_chosen_up():
    # Log-ratios -2 of chosen, -5 of rejected: DPO's margin of 3 less 2 times lambda.
    made = batch(([-4.0], [-8.0], [-2.0], [-3.0]))
    assert losses("dpop", made, lambda_dpop=0.0) == losses("dpo", made)
    assert losses("dpop", made, lambda_dpop=3.0) == pytest.approx([-math.log(sigmoid(0.1 * (3 - 6)))])


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_dpop_holds_up_the_side_that_its_soft_label_says(certain):
    made = batch(([-4.0], [-8.0], [-2.0], [-3.0]), chosen_better_probability=torch.tensor([certain]))
    margin = 3 - 3 * 2 if certain else -3 - 3 * 5
    expected = [-math.log(sigmoid(0.1 * margin))]
    assert losses("dpop", made, lambda_dpop=3.0, soft_labels=True) == pytest.approx(expected)


def test_chi_po_beyond_its_bound_does_not_pull():
    made = batch(([3.0], [-3.0], [0.0], [0.0]))
    made.policy_chosen_logps.requires_grad_()
    for bound, pulls in ((0.2, False), (2.0, True)):
        found = LOSSES["chi_po"].function(made, loss_config("chi_po", {"reward_bound": bound}))
        (gradient,) = torch.autograd.grad(found.losses.sum(), [made.policy_chosen_logps])
        # d/dr of beta (e^r + r), beta = 0.1, at a margin of 0.1 (e^3 - e^-3 + 6).
        margin = 0.1 * (math.exp(3) - math.exp(-3) + 6)
        expected = -sigmoid(-margin) * 0.1 * (math.exp(3) + 1)
        assert float(gradient) == pytest.approx(expected if pulls else 0.0)


def published_beta_dpo(margins, seen_mean, seen_deviation, kept, beta=0.1, alpha=0.6, gamma=0.9):
    """Beta and the mean loss as the paper's authors compute them, from margins in nats and which pairs were drawn."""
    mean = gamma * seen_mean + (1 - gamma) * statistics.mean(margins)
    deviation = gamma * seen_deviation + (1 - gamma) * statistics.stdev(margins)
    taken = [margin for margin, takes in zip(margins, kept, strict=True) if takes]
    used = max(1e-3, beta * (1 + alpha * (statistics.mean(taken) - mean)))
    return statistics.mean(-math.log(sigmoid(used * margin)) for margin in taken), mean, deviation


@pytest.mark.parametrize("scale", [1.0, -4.0])
def test_beta_dpo_follows_margins_and_leaves_out_the_unlikely(scale):
    margins = [0.5 * scale, 0.4 * scale, 0.6 * scale, 30.0, 0.3 * scale]
    zeros = [0.0] * 5
    even = torch.full((5,), 0.5, dtype=torch.float64)
    made = batch((margins, zeros, zeros, zeros), row_draws=even, seen_margins=MovingMoments(0.2, 1.0))
    found = LOSSES["beta_dpo"].function(made, loss_config("beta_dpo", {}))
    # Even draws leave out the fifth of the pairs that lies farthest from the mean.
    kept = [True, True, True, False, True]
    loss, mean, deviation = published_beta_dpo(margins, 0.2, 1.0, kept)
    assert [value > 0 for value in found.losses.tolist()] == kept
    assert float(found.losses.mean()) == pytest.approx(loss)
    assert (found.margin_moments.mean, found.margin_moments.deviation) == pytest.approx((mean, deviation))


def test_beta_dpo_draws_pairs_with_the_odds_of_their_margin():
    rows, generator = 3, torch.Generator().manual_seed(0)
    margins, zeros = [0.0, 1.0, 2.0], [0.0] * rows
    config = loss_config("beta_dpo", {"filtered": 0.6, "update_share": 0.5})  # one of three is kept
    counts = torch.zeros(rows)
    for _ in range(2000):
        draws = torch.rand(rows, generator=generator, dtype=torch.float64)
        # Moments after the batch: mean 0.5 and deviation 1.
        made = batch((margins, zeros, zeros, zeros), row_draws=draws, seen_margins=MovingMoments(0.0, 1.0))
        counts += LOSSES["beta_dpo"].function(made, config).losses > 0
    odds = [math.exp(-0.5 * (margin - 0.5) ** 2) for margin in margins]
    assert counts.tolist() == pytest.approx([2000 * value / sum(odds) for value in odds], rel=0.1)


def test_bcos_shift_on_pairs_is_the_batchs_mean_reward():
    made = batch(([-1.0, -4.0], [-3.0, -3.0], [-2.0, -8.0], [-2.5, -2.0]))
    # Log-ratios 1 and 4 of chosen, -0.5 and -1 of rejected: means 2.5 and -0.75, their middle 0.875.
    expected = [
        -math.log(sigmoid(0.1 * (1 - 0.875))) - math.log(sigmoid(0.1 * (0.875 + 0.5))),
        -math.log(sigmoid(0.1 * (4 - 0.875))) - math.log(sigmoid(0.1 * (0.875 + 1))),
    ]
    assert losses("bco_pair", made, shift="batch") == pytest.approx(expected)


def test_bco_of_single_rows():
    made = UnpairedLogps(torch.tensor([1.0, -2.0]), torch.tensor([True, False]), torch.zeros(2))
    # the middle of 1 and -2 is -0.5; gaps 1.5 and -1.5
    expected = -math.log(sigmoid(0.15))
    assert losses("bco", made, beta=0.1) == pytest.approx([expected, expected], abs=1e-6)


def test_bco_holds_the_policy_against_the_reference():
    made = UnpairedLogps(
        torch.tensor([-4.0, -9.0, -2.0]), torch.tensor([True, False, True]), torch.tensor([-6.0, -8.0, -2.0])
    )
    # Log-ratios 2, -1 and 0: class means 1 and -1, their middle 0.
    found = LOSSES["bco"].function(made, loss_config("bco", {"beta": 0.5}))
    expected = [-math.log(sigmoid(1.0)), -math.log(sigmoid(0.5)), math.log(2)]
    assert found.losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.rewards.tolist() == pytest.approx([1.0, -0.5, 0.0])
    assert float(found.reference_point) == 0.0


def test_orpo_over_the_prompt_takes_the_given_likelihood():
    made = batch(ONE, COUNTS, prompt_chosen_nll=torch.tensor([0.8], dtype=torch.float64))
    apart = losses("orpo", made, nll_over="prompt_and_chosen")[0] - losses("orpo", made)[0]
    assert apart == pytest.approx(0.3)


def test_aot_compares_ranks():
    values = ([-1.0, -2.0], [-4.0, -2.5], [-1.0, -1.0], [-1.0, -3.0])
    # policy margins 3, 0.5 sorted 0.5, 3; reference margins 0, 2: differences 0.5 and 1
    expected = [-math.log(sigmoid(0.05)), -math.log(sigmoid(0.1))]
    assert losses("aot", batch(values)) == pytest.approx(expected)


def test_the_reward_model_by_hand():
    found = reward_model_loss(torch.tensor([2.0]), torch.tensor([0.5]), torch.tensor([0.5]), 0.01, torch.tensor([3.0]))
    assert found.tolist() == pytest.approx([3 * (math.log(1 + math.exp(-1.0)) + 0.01 * 6.25)], abs=1e-6)


def test_the_reward_model_with_a_doubtful_label_by_hand():
    probability = torch.tensor([0.75])
    found = reward_model_loss(torch.tensor([2.0]), torch.tensor([0.5]), chosen_better_probability=probability)
    expected = 0.75 * math.log(1 + math.exp(-1.5)) + 0.25 * math.log(1 + math.exp(1.5))
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


def test_the_thumbs_models_loss_by_hand():
    scores = torch.tensor([2.0, 2.0, 0.0], requires_grad=True)
    found = reward_bce_loss(scores, torch.tensor([1.0, 0.25, 0.9]), torch.tensor([3.0, 1.0, 1.0]))
    up, down = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert found.tolist() == pytest.approx([3 * up, 0.25 * up + 0.75 * down, math.log(2)], abs=1e-6)
    found.sum().backward()
    expected = [3 * (sigmoid(2) - 1), sigmoid(2) - 0.25, 0.5 - 0.9]
    assert scores.grad.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_thumbs_models_loss_is_torchs():
    scores, labels = torch.linspace(-40, 40, 9, dtype=torch.float64), torch.linspace(0, 1, 9, dtype=torch.float64)
    weights = torch.linspace(0, 2, 9, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, weights, reduction="none")
    torch.testing.assert_close(reward_bce_loss(scores, labels, weights), expected, atol=1e-12, rtol=1e-12)


def test_the_thumbs_models_loss_is_finite_for_any_score():
    scores = torch.tensor([1e30, -1e30, 1e30, -1e30], requires_grad=True)
    found = reward_bce_loss(scores, torch.tensor([1.0, 0.0, 0.0, 1.0]))
    assert found.tolist() == pytest.approx([0.0, 0.0, 1e30, 1e30])
    found.sum().backward()
    assert scores.grad.tolist() == [0.0, 0.0, 1.0, -1.0]
