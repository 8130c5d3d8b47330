"""Each loss against numbers worked out by hand, and the laws that all of them keep."""

import dataclasses
import math

import pytest
import torch

from losses import (
    LOSSES,
    PairLogps,
    UnpairedLogps,
    dpo_loss,
    kto_loss,
    loss_config,
    orpo_loss,
)
from losses.cpo import CPOConfig, cpo
from losses.dpo import DPOConfig, dpo
from losses.hinge import HingeConfig, hinge
from losses.ipo import IPOConfig, ipo
from losses.kto import KTOConfig, class_weights, kto
from losses.orpo import ORPOConfig, orpo
from losses.simpo import SimPOConfig, simpo

PAIRED = [name for name, spec in LOSSES.items() if spec.paired]
WITH_REFERENCE = [name for name in PAIRED if LOSSES[name].needs_reference]


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def softplus(x):
    """-log sigma(-x)."""
    return math.log1p(math.exp(x))


def tensor(*values):
    return torch.tensor(values)


def pairs(n=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return torch.empty(n, dtype=torch.float64).uniform_(low, high, generator=generator)

    return PairLogps(
        policy_chosen_logps=draw(-30, -5),
        policy_rejected_logps=draw(-30, -5),
        reference_chosen_logps=draw(-30, -5),
        reference_rejected_logps=draw(-30, -5),
        chosen_token_counts=torch.randint(2, 20, (n,), generator=generator),
        rejected_token_counts=torch.randint(2, 20, (n,), generator=generator),
        chosen_better_probability=draw(0, 1),
        weights=draw(0.5, 2),
    )


def thumbs(n=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return torch.empty(n, dtype=torch.float64).uniform_(low, high, generator=generator)

    return UnpairedLogps(
        policy_logps=draw(-30, -5),
        labels=torch.arange(n) % 3 == 0,
        reference_logps=draw(-30, -5),
        policy_mismatched_logps=draw(-20, -5),
        reference_mismatched_logps=draw(-30, -20),
        weights=draw(0.5, 2),
    )


def batch_for(name):
    return pairs() if LOSSES[name].paired else thumbs()


def run(name, batch, **settings):
    return LOSSES[name].function(batch, loss_config(name, settings))


def rows(batch, part):
    """Some rows of a batch; the mismatched completions, which are no rows of it, stay whole."""
    taken = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        whole = value is None or value.dim() == 0 or "mismatched" in field.name
        taken[field.name] = value if whole else value[part]
    return type(batch)(**taken)


# Numbers worked out by hand.


def test_dpo_of_one_pair():
    loss, metrics = dpo_loss([-1.0], [-3.0], [-2.0], [-2.5], beta=0.1)
    # r_w = -1 + 2 = 1, r_l = -3 + 2.5 = -0.5, z = 0.1 * 1.5 = 0.15, loss = log(1 + e^-0.15)
    assert float(loss) == pytest.approx(0.620957, abs=1e-6)
    assert float(loss) == pytest.approx(softplus(-0.15), abs=1e-6)
    assert float(metrics["reward_margin"]) == pytest.approx(0.15, abs=1e-6)
    assert float(metrics["accuracy"]) == 1.0


THREE_PAIRS = PairLogps(
    tensor(-0.5, -10.0, -1.0), tensor(-0.1, -30.0, -21.0), tensor(-0.5, -10.1, -0.1), tensor(-0.1, -20.1, -0.1)
)
# h: 0 - 0 = 0; 0.1 - (-9.9) = 10; -0.9 - (-20.9) = 20. z = 0.1 h = 0, 1, 2.


def test_dpo_of_three_pairs():
    found = dpo(THREE_PAIRS, DPOConfig(beta=0.1))
    assert found.losses.tolist() == pytest.approx([0.693147, 0.313262, 0.126928], abs=1e-6)
    assert found.losses.tolist() == pytest.approx([softplus(0.0), softplus(-1.0), softplus(-2.0)], abs=1e-6)
    assert found.chosen_rewards.tolist() == pytest.approx([0.0, 0.01, -0.09], abs=1e-6)
    assert found.rejected_rewards.tolist() == pytest.approx([0.0, -0.99, -2.09], abs=1e-6)


def test_hinge_of_three_pairs():
    assert hinge(THREE_PAIRS, HingeConfig(beta=0.1)).losses.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(("beta", "loss"), [(0.05, 0.662405), (0.1, 0.632677), (0.5, 0.430474)])
def test_dpo_mean_of_two_pairs_by_beta(beta, loss):
    found, _ = dpo_loss([-2.0, -1.5], [-3.0, -4.0], [-2.5, -2.0], [-2.5, -3.0], beta=beta)
    # h: 0.5 - (-0.5) = 1; 0.5 - (-1) = 1.5
    assert float(found) == pytest.approx(loss, abs=1e-6)
    assert float(found) == pytest.approx((softplus(-beta) + softplus(-1.5 * beta)) / 2, abs=1e-6)


def test_cdpo_and_robust_dpo_by_hand():
    # z = 2: log sigma(2) = -0.126928, log sigma(-2) = -2.126928
    batch = PairLogps(tensor(-1.0), tensor(-21.0), tensor(-0.1), tensor(-0.1))
    smoothed = dpo(batch, DPOConfig(beta=0.1, label_smoothing=0.1)).losses
    robust = dpo(batch, DPOConfig(beta=0.1, label_smoothing=0.1, robust=True)).losses
    assert float(smoothed) == pytest.approx(0.9 * 0.126928 + 0.1 * 2.126928, abs=1e-6)  # 0.326928
    assert float(robust) == pytest.approx((0.9 * 0.126928 - 0.1 * 2.126928) / 0.8, abs=1e-6)  # -0.123072


def test_a_soft_label_is_cdpo_with_each_pairs_own_smoothing():
    batch = dataclasses.replace(THREE_PAIRS, chosen_better_probability=tensor(1.0, 0.7, 0.0))
    found = dpo(batch, DPOConfig(beta=0.1, soft_labels=True)).losses.tolist()
    assert found == pytest.approx([softplus(0.0), 0.7 * softplus(-1.0) + 0.3 * softplus(1.0), softplus(2.0)], abs=1e-6)


def test_ipo_in_both_readings():
    batch = dataclasses.replace(
        THREE_PAIRS, chosen_token_counts=torch.tensor([1, 2, 3]), rejected_token_counts=torch.tensor([1, 3, 10])
    )
    # h summed 0, 10, 20, drawn to 1 / 0.2 = 5; a token: 0, 0.1/2 + 9.9/3 = 3.35, -0.9/3 + 20.9/10 = 1.79
    assert ipo(batch, IPOConfig(reading="sum")).losses.tolist() == pytest.approx([25.0, 25.0, 225.0], rel=1e-5)
    found = ipo(batch, IPOConfig(reading="mean")).losses.tolist()
    assert found == pytest.approx([25.0, (3.35 - 5) ** 2, (1.79 - 5) ** 2], rel=1e-5)
    assert found == ipo(batch, IPOConfig()).losses.tolist()


def test_simpo_and_cpo_by_hand():
    batch = PairLogps(
        tensor(-4.0), tensor(-9.0), chosen_token_counts=torch.tensor([2]), rejected_token_counts=torch.tensor([3])
    )
    # SimPO: 2 (-2 - -3) - 0.5 = 1.5. CPO: 0.1 (-4 - -9) = 0.5, NLL 4 / 2 = 2.
    assert float(simpo(batch, SimPOConfig(beta=2.0, gamma=0.5)).losses) == pytest.approx(softplus(-1.5), abs=1e-6)
    assert float(cpo(batch, CPOConfig(beta=0.1, alpha=0.5)).losses) == pytest.approx(softplus(-0.5) + 1.0, abs=1e-6)


def test_orpo_by_hand():
    chosen, rejected = math.log(0.5), math.log(0.25)
    batch = PairLogps(
        tensor(2 * chosen), tensor(4 * rejected), chosen_token_counts=torch.tensor([2]),
        rejected_token_counts=torch.tensor([4]),
    )  # fmt: skip
    # Odds 0.5 / 0.5 = 1 and 0.25 / 0.75 = 1/3: the odds ratio is 3, sigma(log 3) = 3/4. NLL = log 2.
    expected = math.log(2) - 0.1 * math.log(0.75)
    assert float(orpo(batch, ORPOConfig(lambda_orpo=0.1)).losses) == pytest.approx(expected, abs=1e-6)
    plain = orpo_loss([chosen], [rejected], sft_loss=math.log(2), lambda_orpo=0.1)
    assert float(plain) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("chosen", [0.0, -1e-9, -1e-8, -200.0, -1e30])
@pytest.mark.parametrize("rejected", [0.0, -1e-9, -1e-8, -200.0, -1e30])
def test_orpo_is_finite_with_a_finite_gradient(chosen, rejected):
    chosen, rejected = tensor(chosen).requires_grad_(), tensor(rejected).requires_grad_()
    loss = orpo_loss(chosen, rejected, sft_loss=1.0)
    gradients = torch.autograd.grad(loss, [chosen, rejected])
    assert all(bool(torch.isfinite(value).all()) for value in (loss, *gradients))


KTO_EXAMPLE = UnpairedLogps(
    policy_logps=tensor(2.0, -1.0, 0.5, -3.0) - 10.0,
    labels=torch.tensor([True, True, False, False]),
    reference_logps=tensor(-10.0, -10.0, -10.0, -10.0),
    policy_mismatched_logps=tensor(-1.0, -2.2),
    reference_mismatched_logps=tensor(-2.0, -2.0),  # log-ratios 1 and -0.2: mean 0.4
)


def test_kto_by_hand():
    found = kto(KTO_EXAMPLE, KTOConfig(beta=0.1))
    assert float(found.reference_point) == pytest.approx(0.4, abs=1e-6)
    # By hand: 1 - sigma(0.1 (2 - 0.4)), 1 - sigma(0.1 (-1 - 0.4)); 1 - sigma(0.1 (0.4 - 0.5)), 1 - sigma(0.1 (0.4 + 3))
    assert found.losses.tolist() == pytest.approx([0.460085, 0.534943, 0.502500, 0.415809], abs=1e-6)
    expected = [1 - sigmoid(0.16), 1 - sigmoid(-0.14), 1 - sigmoid(-0.01), 1 - sigmoid(0.34)]
    assert found.losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.rewards.tolist() == pytest.approx([0.2, -0.1, 0.05, -0.3], abs=1e-6)


def test_plain_kto_takes_z0_from_the_batch_and_halves_the_sum_of_class_means():
    # Means of r: (2 - 1) / 2 = 0.5 and 0.5 - 3.5 ... one undesirable row of 0.3: z0 = (0.5 + 0.3) / 2 = 0.4
    loss = kto_loss([-8.0, -11.0], [-9.7], [-10.0, -10.0], [-10.0], beta=0.1)
    desirable = (1 - sigmoid(0.16) + 1 - sigmoid(-0.14)) / 2
    undesirable = 1 - sigmoid(0.1 * (0.4 - 0.3))
    assert float(loss) == pytest.approx((desirable + undesirable) / 2, abs=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("method", LOSSES)
def test_a_scale_that_is_no_finite_number_in_range_is_refused(method, wrong):
    name = "lambda_orpo" if method == "orpo" else "beta"
    with pytest.raises(ValueError, match=f"{method}: {name} must be .* and finite"):
        loss_config(method, {name: wrong})


@pytest.mark.parametrize("other", [{"robust": True}, {"label_smoothing": 0.1}])
def test_two_ways_to_doubt_a_label_are_refused(other):
    with pytest.raises(ValueError, match="not with robust or label_smoothing"):
        DPOConfig(soft_labels=True, **other)


@pytest.mark.parametrize(
    ("set_weights", "counts", "expected"),
    [
        ({}, (30, 10), (1.0, 9 / 4)),  # 3 in all: the undesirable are raised until 3 / (9/4) = 4/3
        ({}, (10, 30), (3.0, 1.0)),  # 1/3 in all: the desirable are raised until 3 / 3 = 1
        ({"desirable_weight": 2.0}, (30, 10), (2.0, 4.5)),  # 2 * 3 / 4.5 = 4/3
        ({"undesirable_weight": 2.0}, (30, 10), (8 / 9, 2.0)),  # 8/9 * 3 / 2 = 4/3
        ({"desirable_weight": 0.0}, (30, 10), (0.0, 1.0)),
        ({"undesirable_weight": 0.5}, (0, 10), (1.0, 0.5)),
        ({"desirable_weight": 5.0, "undesirable_weight": 7.0}, (30, 10), (5.0, 7.0)),
    ],
)
def test_a_class_weight_not_set_balances_the_one_that_is(set_weights, counts, expected):
    config = KTOConfig(n_desirable=counts[0], n_undesirable=counts[1], **set_weights)
    assert class_weights(config) == pytest.approx(expected)
