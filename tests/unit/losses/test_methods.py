"""Each loss against numbers worked out by hand, and the laws that all of them keep."""

import dataclasses
import math

import pytest
import torch

from tests.loss_cases import (
    BY_ROW,
    CHANGES,
    LIKELIHOOD,
    PAIRED,
    PER_TOKEN,
    UNPAIRED,
    UNPAIRED_WITH_REFERENCE,
    WITH_REFERENCE,
    change,
    choices,
    full_batch,
    run,
    special,
    tensors,
    with_field,
)
from tests.loss_inputs import swapped
from thumbline.losses import (
    LOSSES,
    ROLLOUTS,
    MissingInputError,
    PairLogps,
    UnpairedLogps,
    dpo_loss,
    kto_loss,
    loss_config,
    loss_method,
    loss_spec,
    orpo_loss,
)
from thumbline.losses.cpo import CPOConfig, cpo
from thumbline.losses.dpo import DPOConfig, dpo
from thumbline.losses.hinge import HingeConfig, hinge
from thumbline.losses.ipo import IPOConfig, ipo
from thumbline.losses.kto import KTOConfig, class_weights, kto, kto_reference_point
from thumbline.losses.orpo import ORPOConfig, orpo
from thumbline.losses.registry import describe
from thumbline.losses.simpo import SimPOConfig, simpo


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def softplus(x):
    """-log sigma(-x)."""
    return math.log1p(math.exp(x))


def tensor(*values):
    return torch.tensor(values)


def rows(batch, part):
    """Some rows of a batch; the mismatched completions, which are no rows of it, stay whole."""
    taken = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        whole = not isinstance(value, torch.Tensor) or value.dim() == 0 or "mismatched" in field.name
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
    # beta times r - z0 where desirable, z0 - r where not: 0.1 * 1.6, 0.1 * -1.4, 0.1 * -0.1, 0.1 * 3.4
    assert found.losses.tolist() == pytest.approx([0.460085, 0.534943, 0.502500, 0.415809], abs=1e-6)
    expected = [1 - sigmoid(0.16), 1 - sigmoid(-0.14), 1 - sigmoid(-0.01), 1 - sigmoid(0.34)]
    assert found.losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.rewards.tolist() == pytest.approx([0.2, -0.1, 0.05, -0.3], abs=1e-6)


def test_plain_kto_takes_z0_from_the_batch_and_halves_the_sum_of_class_means():
    # Mean r of desirable (2 - 1) / 2 = 0.5, of undesirable 0.3: z0 = (0.5 + 0.3) / 2 = 0.4
    loss = kto_loss([-8.0, -11.0], [-9.7], [-10.0, -10.0], [-10.0], beta=0.1)
    desirable = (1 - sigmoid(0.16) + 1 - sigmoid(-0.14)) / 2
    undesirable = 1 - sigmoid(0.1 * (0.4 - 0.3))
    assert float(loss) == pytest.approx((desirable + undesirable) / 2, abs=1e-6)


# Laws of the losses.


def test_policy_equal_to_reference_gives_ln_2_no_margin_and_a_tie():
    logps = [-3.0, -70.5, -0.25]
    loss, metrics = dpo_loss(logps, [-9.0, -1.0, -4.0], logps, [-9.0, -1.0, -4.0])
    assert float(loss) == pytest.approx(math.log(2), abs=1e-6)
    assert float(metrics["reward_margin"]) == 0.0
    assert float(metrics["accuracy"]) == 0.5


@pytest.mark.parametrize("name", PAIRED)
def test_swapping_the_sides_flips_the_margin(name):
    batch = dataclasses.replace(full_batch(name), weights=None)
    one, other = run(name, batch), run(name, swapped(batch))
    torch.testing.assert_close(
        one.chosen_rewards - one.rejected_rewards, other.rejected_rewards - other.chosen_rewards, atol=0, rtol=0
    )


@pytest.mark.parametrize("name", BY_ROW)
def test_a_batch_of_8_is_8_batches_of_1(name):
    batch = full_batch(name)
    if LOSSES[name].step_statistic is not None:
        batch = dataclasses.replace(batch, reference_point=LOSSES[name].step_statistic(batch, loss_config(name, {})))
    whole = run(name, batch).losses
    alone = torch.cat([run(name, rows(batch, slice(i, i + 1))).losses for i in range(8)])
    torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("name", BY_ROW)
def test_weights_multiply_each_rows_loss(name):
    batch = full_batch(name)
    plain = run(name, dataclasses.replace(batch, weights=None)).losses
    torch.testing.assert_close(run(name, batch).losses, plain * batch.weights)


@pytest.mark.parametrize("name", LOSSES)
def test_only_losses_carry_a_gradient(name):
    batch = dataclasses.replace(full_batch(name), weights=None)
    sides = ("policy_chosen_logps", "policy_rejected_logps") if LOSSES[name].paired else ("policy_logps",)
    found = run(name, dataclasses.replace(batch, **{side: getattr(batch, side).requires_grad_() for side in sides}))
    assert {key: value.requires_grad for key, value in tensors(found).items() if value.requires_grad} == {
        "losses": True
    }


@pytest.mark.parametrize("name", [name for name in PAIRED if special(name).pulls_both])
def test_raising_chosen_and_lowering_rejected_lowers_the_loss(name):
    batch = rows(full_batch(name), slice(0, 1))
    batch = dataclasses.replace(batch, reference_chosen_logps=batch.policy_chosen_logps.clone(),
                                reference_rejected_logps=batch.policy_rejected_logps.clone())  # fmt: skip
    leaves = batch.policy_chosen_logps.requires_grad_(), batch.policy_rejected_logps.requires_grad_()
    chosen, rejected = torch.autograd.grad(run(name, batch).losses.sum(), leaves)
    assert float(chosen) < 0 < float(rejected)


def test_kto_raises_desirable_and_lowers_undesirable():
    policy = KTO_EXAMPLE.policy_logps.clone().requires_grad_()
    losses = kto(dataclasses.replace(KTO_EXAMPLE, policy_logps=policy), KTOConfig()).losses
    (gradient,) = torch.autograd.grad(losses.sum(), [policy])
    assert (gradient < 0).tolist() == KTO_EXAMPLE.labels.tolist()


def test_sft_raises_desirable_and_leaves_undesirable_alone():
    # 6 nats over 3 tokens, and 8 over 2.
    policy = torch.tensor([-6.0, -8.0], requires_grad=True)
    batch = UnpairedLogps(policy, torch.tensor([True, False]), token_counts=torch.tensor([3, 2]))
    found = run("sft", batch)
    assert found.losses.tolist() == [2.0, 0.0] and found.rewards.tolist() == [-2.0, -4.0]
    assert torch.autograd.grad(found.losses.sum(), [policy])[0].tolist() == [pytest.approx(-1 / 3), 0.0]
    assert run("sft", batch, nll="sum").losses.tolist() == [6.0, 0.0]


# Every hyper-parameter changes a result, and is refused out of its range.


@pytest.mark.parametrize(("name", "key"), CHANGES)
def test_every_hyper_parameter_changes_the_loss(name, key):
    before, after = (run(name, full_batch(name), **settings).losses for settings in change(name, key))
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("point", ["mismatched", "batch", "zero"])
def test_each_estimator_of_z0_gives_its_own_value(point):
    found = float(kto(KTO_EXAMPLE, KTOConfig(reference_point=point)).reference_point)
    # Mismatched (1 - 0.2) / 2 = 0.4. Batch: class means 0.5 and -1.25, their middle -0.375.
    assert found == pytest.approx({"mismatched": 0.4, "batch": -0.375, "zero": 0.0}[point], abs=1e-6)


NOT_ABOVE_ZERO = [0.0, -0.1, math.nan, math.inf]
SOFT = with_field("soft_labels")
SIDES = ("chosen", "rejected")
BELOW_ZERO = [-0.1, math.nan, math.inf]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [(name, {"beta": value}, "beta must be above 0") for name in with_field("beta") for value in NOT_ABOVE_ZERO]
    + [
        (name, {"label_smoothing": value}, "label_smoothing must be in [0, 0.5)")
        for name in with_field("label_smoothing")
        if name != "exo"
        for value in (-0.1, 0.5, math.nan)
    ]
    + [
        (name, {key: "no such"}, f"{key} must be one of {', '.join(values)}, not 'no such'")
        for name in LOSSES
        for key, values in choices(name).items()
    ]
    + [("exo", {"label_smoothing": value}, "label_smoothing must be in (0, 0.5)") for value in (0.0, 0.5, math.nan)]
    + [("dpo", {"robust": True, "soft_labels": True}, "robust and soft_labels both say")]
    + [
        (name, {"label_smoothing": 0.1, "soft_labels": True}, "label_smoothing and soft_labels both say")
        for name in with_field("label_smoothing")
        if name in SOFT and name != "exo"
    ]
    + [(name, {"alpha": math.inf}, "alpha must be finite") for name in ("f_dpo", "alphapo")]
    + [("rpo", {"alpha": value}, "alpha must be at least 0") for value in BELOW_ZERO]
    + [("discopop", {"tau": value}, "tau must be in (0, 1]") for value in (0.0, 1.5, math.nan)]
    + [("orpo", {"lambda_orpo": value}, "lambda_orpo must be at least 0") for value in BELOW_ZERO]
    + [(name, {"gamma": value}, "gamma must be at least 0") for name in with_field("gamma") for value in BELOW_ZERO]
    + [("cpo", {"alpha": value}, "alpha must be at least 0") for value in BELOW_ZERO]
    + [("kto", {"n_desirable": -1}, "n_desirable and n_undesirable are counts")]
    + [("kto", {"n_undesirable": -1}, "n_desirable and n_undesirable are counts")]
    + [("kto", {"desirable_weight": value}, "desirable_weight must be at least 0") for value in BELOW_ZERO]
    + [("kto", {"undesirable_weight": value}, "undesirable_weight must be at least 0") for value in BELOW_ZERO],
)
def test_a_value_out_of_range_is_refused(name, settings, message):
    with pytest.raises(ValueError) as refusal:
        loss_config(name, settings)
    assert str(refusal.value).startswith(f"{name}: {message}")


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(TypeError, match="dpo: "):
        loss_config("dpo", {"beta": "high"})


# KTO's class weights and reference point.


@pytest.mark.parametrize(
    ("n_desirable", "n_undesirable", "desirable", "undesirable"),
    [
        (100, 100, 1.0, 1.0),  # ratio 1
        (120, 100, 1.0, 1.0),  # ratio 1.2, inside [1, 4/3]
        (50, 100, 2.0, 1.0),  # 2 * 50 / 100 = 1
        (200, 100, 1.0, 1.5),  # 200 / (1.5 * 100) = 4/3
        (0, 100, 1.0, 1.0),
        (100, 0, 1.0, 1.0),
    ],
)
def test_class_weights_from_counts(n_desirable, n_undesirable, desirable, undesirable):
    found = class_weights(KTOConfig(n_desirable=n_desirable, n_undesirable=n_undesirable))
    assert found == pytest.approx((desirable, undesirable))


@pytest.mark.parametrize(
    ("fixed", "desirable", "undesirable"),
    [
        ({"desirable_weight": 1.0}, 1.0, 0.5),  # 1 * 50 / (0.5 * 100) = 1
        ({"desirable_weight": 4.0}, 4.0, 1.5),  # 4 * 50 / (1.5 * 100) = 4/3
        ({"undesirable_weight": 3.0}, 6.0, 3.0),  # 6 * 50 / (3 * 100) = 1
        ({"undesirable_weight": 0.25}, 2.0 / 3.0, 0.25),  # 2/3 * 50 / (0.25 * 100) = 4/3
        ({"desirable_weight": 0.0}, 0.0, 1.0),  # a class switched off has nothing to be balanced against
        ({"undesirable_weight": 0.0}, 1.0, 0.0),
        ({"desirable_weight": 1.0, "undesirable_weight": 7.0}, 1.0, 7.0),
    ],
)
def test_a_weight_that_is_set_stays_and_the_other_keeps_the_balance(fixed, desirable, undesirable):
    found = class_weights(KTOConfig(n_desirable=50, n_undesirable=100, **fixed))
    assert found == pytest.approx((desirable, undesirable))


def test_class_weights_multiply_their_own_class():
    plain = kto(KTO_EXAMPLE, KTOConfig()).losses
    found = kto(KTO_EXAMPLE, KTOConfig(desirable_weight=3.0, undesirable_weight=0.5)).losses
    torch.testing.assert_close(found, plain * tensor(3.0, 3.0, 0.5, 0.5))


@pytest.mark.parametrize("point", ["mismatched", "batch"])
def test_z0_carries_no_gradient(point):
    leaves = {
        name: getattr(KTO_EXAMPLE, name).clone().requires_grad_()
        for name in ("policy_logps", "policy_mismatched_logps")
    }
    config = KTOConfig(reference_point=point)
    found = kto(dataclasses.replace(KTO_EXAMPLE, **leaves), config)
    assert not found.reference_point.requires_grad
    gradients = torch.autograd.grad(found.losses.sum(), list(leaves.values()), allow_unused=True)
    assert gradients[1] is None
    # The derivative of sigma(-s beta (r - z0)) with z0 a constant is -s beta sigma (1 - sigma).
    sign = torch.where(KTO_EXAMPLE.labels, 1.0, -1.0)
    torch.testing.assert_close(gradients[0], -sign * 0.1 * found.losses.detach() * (1 - found.losses.detach()))


def test_z0_of_other_prompts_is_never_below_zero():
    batch = dataclasses.replace(KTO_EXAMPLE, policy_mismatched_logps=tensor(-5.0, -5.0))
    assert float(kto_reference_point(batch, KTOConfig())) == 0.0


@pytest.mark.parametrize("desirable", [True, False])
@pytest.mark.parametrize("point", ["mismatched", "batch", "zero"])
def test_an_absent_class_is_left_out_of_z0_and_never_nan(point, desirable):
    batch = rows(KTO_EXAMPLE, KTO_EXAMPLE.labels == desirable)
    found = kto(batch, KTOConfig(reference_point=point))
    assert bool(torch.isfinite(found.losses).all())
    if point == "batch":
        assert float(found.reference_point) == pytest.approx(0.5 if desirable else -1.25, abs=1e-6)


def test_no_mismatched_completion_gives_a_z0_of_zero():
    batch = dataclasses.replace(
        KTO_EXAMPLE, policy_mismatched_logps=torch.zeros(0), reference_mismatched_logps=torch.zeros(0)
    )
    assert float(kto_reference_point(batch, KTOConfig())) == 0.0


@pytest.mark.parametrize("desirable", [True, False])
def test_plain_kto_with_one_class_is_half_that_classs_mean(desirable):
    logps, nothing = ([-8.0, -11.0], [-10.0, -10.0]), ([], [])
    one, other = (logps, nothing) if desirable else (nothing, logps)
    loss = kto_loss(one[0], other[0], one[1], other[1])
    sign = 1 if desirable else -1  # z0 = (2 - 1) / 2 = 0.5
    expected = (sigmoid(-sign * 0.1 * 1.5) + sigmoid(sign * 0.1 * 1.5)) / 4
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("point", ["mismatched", "batch", "zero"])
def test_two_halves_with_the_steps_z0_sum_to_the_whole(point):
    config = KTOConfig(reference_point=point)
    batch = full_batch("kto")
    policy = batch.policy_logps.clone().requires_grad_()
    whole = kto(dataclasses.replace(batch, policy_logps=policy), config)
    z0 = LOSSES["kto"].step_statistic(batch, config)
    assert float(whole.reference_point) == float(z0)
    parts = dataclasses.replace(
        batch, policy_logps=policy, reference_point=z0, policy_mismatched_logps=None, reference_mismatched_logps=None
    )
    halves = [kto(rows(parts, part), config).losses.sum() for part in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(halves[0] + halves[1], whole.losses.sum())
    (one,) = torch.autograd.grad(whole.losses.sum(), [policy], retain_graph=True)
    (other,) = torch.autograd.grad(halves[0] + halves[1], [policy])
    torch.testing.assert_close(one, other)


def test_an_overriding_z0_takes_no_gradient():
    z0 = torch.tensor(0.4, requires_grad=True)
    policy = KTO_EXAMPLE.policy_logps.clone().requires_grad_()
    found = kto(dataclasses.replace(KTO_EXAMPLE, policy_logps=policy, reference_point=z0), KTOConfig())
    assert torch.autograd.grad(found.losses.sum(), [z0], allow_unused=True) == (None,)


# Missing inputs.

# RPO is DPO with a likelihood: what it lacks of the reference and of labels is told under DPO's name.
NAMED = [name for name in PAIRED if name != "rpo"]
NEEDS = [
    *((name, {}, f"reference_{side}_logps") for name in NAMED if name in WITH_REFERENCE for side in SIDES),
    *((name, {}, f"{side}_token_counts") for name in PER_TOKEN for side in SIDES),
    *((name, {}, "chosen_token_counts") for name in LIKELIHOOD),
    ("orpo", {"nll_over": "prompt_and_chosen"}, "prompt_chosen_nll"),
    *((name, {"soft_labels": True}, "chosen_better_probability") for name in NAMED if name in SOFT),
    *((name, {"soft_labels": True}, "desirable_probability") for name in UNPAIRED if name in SOFT),
    *((name, {}, "reference_logps") for name in UNPAIRED_WITH_REFERENCE),
    ("sft", {}, "token_counts"),
    *(
        (name, {}, f"{model}_mismatched_logps")
        for name in UNPAIRED
        if loss_method(name, {}).needs_mismatched
        for model in ("policy", "reference")
    ),
]


@pytest.mark.parametrize(("name", "settings", "field"), NEEDS)
def test_a_missing_input_is_named(name, settings, field):
    batch = dataclasses.replace(full_batch(name), **{field: None})
    with pytest.raises(MissingInputError, match=f"^{LOSSES[name].title.split()[0]}.* needs `{field}`"):
        run(name, batch, **settings)


@pytest.mark.parametrize("name", PAIRED)
def test_a_method_takes_what_its_spec_says_and_no_reference_where_it_needs_none(name):
    batch = dataclasses.replace(full_batch(name), reference_chosen_logps=None, reference_rejected_logps=None)
    if LOSSES[name].needs_reference:
        with pytest.raises(MissingInputError):
            run(name, batch)
    else:
        assert run(name, batch).losses.shape == (8,)


def test_ipo_of_sums_needs_no_token_counts():
    batch = dataclasses.replace(full_batch("ipo"), chosen_token_counts=None, rejected_token_counts=None)
    assert run("ipo", batch, reading="sum").losses.shape == (8,)


# The registry.


def test_an_unknown_method_names_the_nearest_and_all():
    with pytest.raises(ValueError) as refusal:
        loss_spec("dpoo")
    assert str(refusal.value) == (
        f"unknown method 'dpoo'. Did you mean 'dpo'? Known: {', '.join(sorted((*LOSSES, *ROLLOUTS)))}."
    )


def test_an_unknown_hyper_parameter_names_the_nearest_and_all():
    with pytest.raises(ValueError) as refusal:
        loss_config("simpo", {"gama": 1.0})
    assert str(refusal.value) == (
        "simpo: unknown hyper-parameter 'gama'. Did you mean 'gamma'? "
        "Known: beta, gamma, gamma_unit, label_smoothing, soft_labels."
    )


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ValueError) as refusal:
        loss_spec("zzzzzz")
    assert "Did you mean" not in str(refusal.value)


def test_the_description_names_every_method_with_its_defaults():
    found = {row["method"]: row for row in describe()}
    assert list(found) == [*LOSSES, *ROLLOUTS]
    assert (found["rloo"]["data"], found["rloo"]["weights held"]) == ("prompts", "3x (2x with an adapter)")
    assert found["alphapo"]["hyper-parameters"] == "beta=2.5, gamma=0.25, alpha=0.25, soft_labels=False"
    assert (found["kto"]["data"], found["kto"]["reference"]) == ("unpaired", "log-probs")
    assert (found["orpo"]["data"], found["orpo"]["reference"]) == ("pairs", "none")


@pytest.mark.parametrize(
    ("set_weights", "counts", "expected"),
    [
        ({}, (30, 10), (1.0, 9 / 4)),  # 3 in all: the undesirable are raised until 3 / (9/4) = 4/3
        ({}, (10, 30), (3.0, 1.0)),  # 1/3 in all: the desirable are raised until 3 / 3 = 1
        ({"desirable_weight": 2.0}, (30, 10), (2.0, 4.5)),  # 2 * 3 / 4.5 = 4/3
        ({"undesirable_weight": 2.0}, (30, 10), (8 / 9, 2.0)),  # 8/9 * 3 / 2 = 4/3
        ({"desirable_weight": 0.0}, (30, 10), (0.0, 1.0)),
        ({"undesirable_weight": 0.5}, (0, 10), (1.0, 0.5)),
        ({"desirable_weight": 2.0}, (10, 0), (2.0, 1.0)),
        ({"desirable_weight": 5.0, "undesirable_weight": 7.0}, (30, 10), (5.0, 7.0)),
    ],
)
def test_a_class_weight_not_set_balances_the_one_that_is(set_weights, counts, expected):
    config = KTOConfig(n_desirable=counts[0], n_undesirable=counts[1], **set_weights)
    assert class_weights(config) == pytest.approx(expected)
