"""What must hold of every method, whatever the numbers."""

import dataclasses
import itertools
import math

import pytest
import torch

from tests.loss_cases import (
    BY_ROW,
    LIKELIHOOD,
    PAIRED,
    PER_TOKEN,
    SETTINGS,
    UNPAIRED,
    WITH_REFERENCE,
    full_batch,
    run,
    special,
    with_field,
)
from tests.loss_inputs import pairs, swapped, unpaired
from thumbline.losses import LOSSES, UnpairedLogps, loss_config, loss_method
from thumbline.losses.bco import RunningMean, bco_reference_point

SOFT = [name for name in with_field("soft_labels") if name in PAIRED]


@pytest.mark.parametrize("method", [name for name in PAIRED if special(name).logistic])
def test_ln_2_where_the_policy_is_the_reference(method):
    batch = pairs()
    same = dataclasses.replace(
        batch, reference_chosen_logps=batch.policy_chosen_logps, reference_rejected_logps=batch.policy_rejected_logps
    )
    torch.testing.assert_close(run(method, same).losses, torch.full((8,), math.log(2), dtype=torch.float64))


@pytest.mark.parametrize(("method", "settings"), [case for case in SETTINGS if case[0] in WITH_REFERENCE])
def test_no_reward_where_the_policy_is_the_reference(method, settings):
    batch = full_batch(method)
    same = dataclasses.replace(
        batch, reference_chosen_logps=batch.policy_chosen_logps, reference_rejected_logps=batch.policy_rejected_logps
    )
    found = run(method, same, **settings)
    assert found.chosen_rewards.abs().max() < 1e-12 and found.rejected_rewards.abs().max() < 1e-12


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("method", sorted({*PER_TOKEN, *LIKELIHOOD}))
def test_one_token_is_its_own_mean_and_an_empty_completion_counts_as_one(method, side):
    def losses(count):
        counts = torch.full((8,), count)
        return run(method, dataclasses.replace(pairs(grad=False), **{f"{side}_token_counts": counts})).losses

    torch.testing.assert_close(losses(0), losses(1), atol=0, rtol=0)
    if method in PER_TOKEN or side == "chosen":
        assert (losses(1) - losses(2)).abs().max() > 1e-3


@pytest.mark.parametrize("method", [name for name in PAIRED if name in BY_ROW and special(name).monotone])
def test_a_better_margin_never_costs_more(method):
    losses = []
    for step in torch.linspace(-30, 30, 41, dtype=torch.float64):
        batch = pairs(rows=1, grad=False)
        batch = dataclasses.replace(batch, policy_rejected_logps=batch.policy_rejected_logps.clamp(max=-31) - step)
        losses.append(float(run(method, batch).losses))
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize("method", [name for name in PAIRED if not LOSSES[name].takes_weights])
def test_rank_losses_refuse_unequal_weights(method):
    alike = torch.full((8,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(run(method, pairs(weights=alike)).losses, run(method, pairs()).losses * 0.5)
    with pytest.raises(ValueError, match="ranks, not rows"):
        run(method, pairs(weights=torch.arange(8.0)))


@pytest.mark.parametrize("method", SOFT)
def test_a_certain_soft_label_is_the_label(method):
    batch = pairs(chosen_better_probability=torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close(run(method, batch, soft_labels=True).losses, run(method, pairs()).losses)


@pytest.mark.parametrize("method", [name for name in SOFT if name not in LIKELIHOOD])
def test_an_even_soft_label_has_no_preference(method):
    """At p = 1/2 a pair and its mirror image lose the same."""
    even = torch.full((8,), 0.5, dtype=torch.float64)
    batch = pairs(chosen_better_probability=even)
    mirrored = dataclasses.replace(swapped(batch), chosen_better_probability=even)
    torch.testing.assert_close(
        run(method, batch, soft_labels=True).losses, run(method, mirrored, soft_labels=True).losses
    )


@pytest.mark.parametrize("method", SOFT)
def test_soft_labels_change_the_loss_only_where_asked_for(method):
    batch = pairs(chosen_better_probability=torch.full((8,), 0.7, dtype=torch.float64))
    torch.testing.assert_close(run(method, batch).losses, run(method, pairs()).losses)
    assert (run(method, batch, soft_labels=True).losses - run(method, batch).losses).abs().min() > 0


def test_ipo_with_soft_labels_is_least_where_the_margin_is_the_posteriors():
    margins = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    batch = dataclasses.replace(
        pairs(rows=4001),
        policy_chosen_logps=margins,
        policy_rejected_logps=torch.zeros_like(margins),
        reference_chosen_logps=torch.zeros_like(margins),
        reference_rejected_logps=torch.zeros_like(margins),
        chosen_better_probability=torch.full_like(margins, 0.8),
    )
    losses = run("ipo", batch, reading="sum", soft_labels=True).losses
    assert float(margins[losses.argmin()]) == pytest.approx((0.8 - 0.5) / 0.1)


@pytest.mark.parametrize(("method", "settings"), [case for case in SETTINGS if case[0] in UNPAIRED])
@pytest.mark.parametrize("labels", [(True,) * 4, (False,) * 4, (True,)])
def test_an_absent_class_gives_no_nan(method, settings, labels):
    batch = unpaired(labels, desirable_probability=torch.full((len(labels),), 0.7))
    output = run(method, batch, **settings)
    (gradient,) = torch.autograd.grad(output.losses.mean(), batch.policy_logps)
    assert output.losses.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("method", [name for name in UNPAIRED if LOSSES[name].step_statistic])
def test_an_unpaired_step_in_parts_is_the_step_at_once(method):
    batch = unpaired((True, False, True, True, False, False, False, True))
    spec = LOSSES[method]
    config = loss_config(method, {})
    whole = spec.function(batch, config).losses
    point = spec.step_statistic(batch, config)
    parts = [
        spec.function(
            UnpairedLogps(
                batch.policy_logps[row : row + 2],
                batch.labels[row : row + 2],
                batch.reference_logps[row : row + 2],
                reference_point=point,
            ),
            config,
        ).losses
        for row in range(0, 8, 2)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)
    gradients = [torch.autograd.grad(losses.sum(), batch.policy_logps, retain_graph=True)[0] for losses in parts]
    torch.testing.assert_close(sum(gradients), torch.autograd.grad(whole.sum(), batch.policy_logps)[0])


def test_the_classes_reduction_averages_the_classes_means():
    batch = unpaired((True, True, True, False))
    rows = run("kto", batch, desirable_weight=1.5, undesirable_weight=1.0).losses
    classes = run("kto", batch, desirable_weight=1.5, undesirable_weight=1.0, reduction="classes").losses
    torch.testing.assert_close(classes.mean(), (rows[:3].mean() + rows[3]) / 2)


@pytest.mark.parametrize("label", [True, False])
def test_the_classes_reduction_of_one_class_is_its_mean(label):
    batch = unpaired((label,) * 3)
    torch.testing.assert_close(run("kto", batch, reduction="classes").losses, run("kto", batch).losses)


@pytest.mark.parametrize(("method", "settings"), [case for case in SETTINGS if case[0] in PAIRED])
def test_no_pair_gives_no_loss(method, settings):
    nothing = torch.zeros(0)
    batch = dataclasses.replace(pairs(rows=0), weights=nothing, chosen_better_probability=nothing)
    assert run(method, batch, **settings).losses.shape == (0,)


@pytest.mark.parametrize(("method", "settings"), [case for case in SETTINGS if case[0] in BY_ROW])
def test_the_gradient_is_that_of_small_steps(method, settings):
    batch = full_batch(method)
    names = ("policy_chosen_logps", "policy_rejected_logps") if LOSSES[method].paired else ("policy_logps",)
    if LOSSES[method].step_statistic is not None:
        # A constant, as in training; else small steps would move it.
        point = LOSSES[method].step_statistic(batch, loss_config(method, settings))
        batch = dataclasses.replace(batch, reference_point=point)

    def losses(*sides):
        return run(method, dataclasses.replace(batch, **dict(zip(names, sides, strict=True))), **settings).losses

    if not loss_method(method, settings).takes_whole_steps:
        assert torch.autograd.gradcheck(losses, [getattr(batch, name).clone().requires_grad_() for name in names])


@pytest.mark.parametrize(
    ("method", "settings"),
    [("kto", {"reference_point": point}) for point in ("batch", "zero")] + [("bco", {})],
)
def test_no_thumb_gives_no_loss_and_a_reference_point_of_zero(method, settings):
    nothing = torch.zeros(0)
    found = run(method, UnpairedLogps(nothing, nothing.bool(), nothing), **settings)
    assert found.losses.shape == (0,)
    assert found.reference_point.tolist() == 0.0


def test_ktos_soft_labels_mix_both_classes():
    batch = unpaired((True, False), desirable_probability=torch.tensor([0.75, 0.75], dtype=torch.float64))
    all_good = dataclasses.replace(batch, labels=torch.tensor([True, True]))
    all_bad = dataclasses.replace(batch, labels=torch.tensor([False, False]))
    mixed = 0.75 * run("kto", all_good).losses + 0.25 * run("kto", all_bad).losses
    torch.testing.assert_close(run("kto", batch, soft_labels=True).losses, mixed)


def test_bcos_soft_labels_mix_both_classes():
    point, soft = torch.tensor(0.5), torch.tensor([0.75, 0.1], dtype=torch.float64)
    batch = unpaired((True, False), desirable_probability=soft, reference_point=point)
    all_good = dataclasses.replace(batch, labels=torch.tensor([True, True]))
    all_bad = dataclasses.replace(batch, labels=torch.tensor([False, False]))
    mixed = soft * run("bco", all_good).losses + (1 - soft) * run("bco", all_bad).losses
    torch.testing.assert_close(run("bco", batch, soft_labels=True).losses, mixed)


def test_the_running_mean_is_that_of_all_values():
    assert RunningMean().updated(torch.tensor([])) == RunningMean(0.0, 0)
    mean = RunningMean().updated(torch.tensor([1.0, 2.0])).updated(torch.tensor([9.0]))
    assert (mean.mean, mean.count) == (4.0, 3)


def test_the_running_mean_keeps_digits_that_float32_would_lose():
    mean = RunningMean().updated(torch.tensor([2.0**24, 1.0, 1.0]).requires_grad_())
    assert mean.mean == (2**24 + 2) / 3
    assert isinstance(mean.mean, float)


def test_bcos_given_point_takes_no_gradient():
    point = torch.tensor(0.4, requires_grad=True)
    losses = run("bco", unpaired(reference_point=point)).losses
    assert torch.autograd.grad(losses.sum(), [point], allow_unused=True) == (None,)


def test_bcos_point_leaves_an_absent_class_out():
    batch = UnpairedLogps(torch.tensor([1.0, 3.0]), torch.tensor([True, True]), torch.zeros(2))
    assert float(bco_reference_point(batch, loss_config("bco", {}))) == 2.0


def test_bcos_running_shift_is_the_mean_of_all_rows_so_far():
    batch = UnpairedLogps(torch.tensor([1.0, 3.0, -7.0]), torch.tensor([True, True, False]), torch.zeros(3))
    config = loss_config("bco", {"shift": "running"})
    assert float(bco_reference_point(batch, config)) == -1.0
    # Seven rows of mean 2 before: (14 - 3) / 10.
    later = dataclasses.replace(batch, seen=RunningMean(2.0, 7))
    assert float(bco_reference_point(later, config)) == pytest.approx(1.1)
    assert float(run("bco", later, shift="running").reference_point) == pytest.approx(1.1)
    assert float(bco_reference_point(later, loss_config("bco", {}))) == -2.5
