"""Every method as a function of plain tensors: the mean of its rows' losses, its metrics, and what it refuses."""

import dataclasses
import inspect

import pytest
import torch

from tests.loss_cases import DEFAULTS, SETTINGS, fields_of, full_batch, run
from thumbline import losses
from thumbline.losses import LOSSES, MissingInputError, PairLogps, loss_method, pair_loss, unpaired_loss
from thumbline.losses.length import TailLogps, length_desensitised
from thumbline.losses.ppo import PPOConfig, generalised_advantages, policy_losses, shaped_rewards, value_losses
from thumbline.losses.wpo import wpo_weights

NAMED = [name for name in DEFAULTS if name not in ("kto", "orpo")]


def called(name, batch, **settings):
    """The method's function with a batch's tensors as plain arguments."""
    function = getattr(losses, f"{name}_loss") if name in NAMED else None
    if isinstance(batch, PairLogps):
        *logps, chosen, rejected, better, weights, nll, draws, seen = vars(batch).values()
        more = {"chosen_token_counts": chosen, "rejected_token_counts": rejected, "weights": weights}
        more |= {"chosen_better_probability": better, "prompt_chosen_nll": nll}
        more |= {"row_draws": draws, "seen_margins": seen} | settings
        return function(*logps, **more) if function else pair_loss(name, *logps, **more)
    logps = (batch.policy_logps, batch.labels, batch.reference_logps)
    more = {"policy_mismatched_logps": batch.policy_mismatched_logps, "weights": batch.weights}
    more |= {"ref_mismatched_logps": batch.reference_mismatched_logps} | settings
    more |= {"desirable_probability": batch.desirable_probability, "token_counts": batch.token_counts}
    return function(*logps, **more) if function else unpaired_loss(name, *logps, **more)


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_loss_is_the_mean_of_the_rows_and_has_its_gradient(name, settings):
    carried = "policy_chosen_logps" if LOSSES[name].paired else "policy_logps"
    batch = full_batch(name)
    batch = dataclasses.replace(batch, **{carried: getattr(batch, carried).clone().requires_grad_()})
    loss, metrics = called(name, batch, **settings)
    whole = run(name, batch, **settings).losses.mean()
    assert loss.shape == () and loss.item() == whole.item()
    (found,), (wanted,) = (torch.autograd.grad(one, [getattr(batch, carried)]) for one in (loss, whole))
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert all(value.shape == () and not value.requires_grad and value.isfinite() for value in metrics.values())


@pytest.mark.parametrize("name", [name for name in DEFAULTS if LOSSES[name].paired])
def test_metrics_of_pairs(name):
    batch = full_batch(name)
    _, metrics = called(name, batch)
    rows = run(name, batch)
    margins = rows.chosen_rewards - rows.rejected_rewards
    assert metrics["accuracy"] == (margins > 0).double().mean()
    torch.testing.assert_close(metrics["reward_margin"], metrics["chosen_reward"] - metrics["rejected_reward"])
    assert metrics["chosen_reward"] == rows.chosen_rewards.mean()


def test_metrics_of_single_rows():
    # Log-ratios 3, 1, -1 and -2; the shift is the middle of the classes' means 2 and -1.5.
    _, metrics = losses.bco_loss([-7.0, -9.0, -11.0, -12.0], [True, True, False, False], [-10.0] * 4, beta=0.5)
    assert {name: float(value) for name, value in metrics.items()} == {
        "desirable_reward": 1.0,
        "undesirable_reward": -0.75,
        "reward_margin": 1.75,
        "accuracy": 1.0,
        "reference_point": 0.25,
    }
    _, metrics = losses.bco_loss([-7.0, -9.0], [True, True], [-10.0] * 2)
    assert set(metrics) == {"desirable_reward", "accuracy", "reference_point"}
    # 3 and 1 against their own mean: one on its label's side.
    assert metrics["accuracy"] == 0.5


def test_a_given_reference_point_is_taken():
    rows = ([-7.0, -12.0], [True, False], [-10.0, -10.0])
    _, metrics = unpaired_loss("kto", *rows, z0=5.0)
    assert metrics["reference_point"] == 5.0 and metrics["accuracy"] == 0.5
    loss, _ = unpaired_loss("kto", *rows, reference_point="zero")
    assert float(loss) == float(unpaired_loss("kto", *rows, z0=0.0)[0])


@pytest.mark.parametrize("name", NAMED)
def test_a_named_function_shows_its_hyper_parameters(name):
    function = getattr(losses, f"{name}_loss")
    assert function.__name__ == f"{name}_loss" and f"{name}_loss" in losses.__all__
    shown = inspect.signature(function).parameters
    first = "policy_chosen_logps" if LOSSES[name].paired else "policy_logps"
    assert next(iter(shown)) == first
    if name != "dpo":
        assert fields_of(name).items() <= {key: one.default for key, one in shown.items()}.items()
        assert LOSSES[name].title in function.__doc__ and all(f"{key}: " in function.__doc__ for key in fields_of(name))


@pytest.mark.parametrize("name", [name for name in DEFAULTS if LOSSES[name].paired])
def test_a_shape_that_torch_would_spread_is_refused(name):
    batch = full_batch(name)
    *logps, chosen, rejected, _, _, _, _, _ = vars(batch).values()
    counts = {"chosen_token_counts": chosen, "rejected_token_counts": rejected}
    with pytest.raises(ValueError, match=r"chosen_logps \(8, 1\), policy_rejected_logps \(8,\).* differ in shape"):
        pair_loss(name, logps[0][:, None], *logps[1:], **counts)
    with pytest.raises(ValueError, match=r"chosen_logps \(8, 1\), .* have the wrong shape; give one number a row"):
        pair_loss(name, *(side[:, None] for side in logps), **{key: one[:, None] for key, one in counts.items()})


def test_the_tutorial_s_call_with_a_column_is_refused():
    a, b = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-2.0, -1.0, -4.0])
    with pytest.raises(ValueError, match=r"pairs: policy_chosen_logps \(3, 1\), policy_rejected_logps \(3,\)"):
        losses.dpo_loss(a[:, None], b, a, b)
    with pytest.raises(ValueError, match=r"ref_chosen_logps \(1,\) differ in shape"):
        losses.kto_loss(a, b, a[:1], b)
    with pytest.raises(ValueError, match=r"policy_rejected_logps \(3, 1\) differ in shape"):
        losses.orpo_loss(a, b[:, None], 1.0)
    with pytest.raises(ValueError, match=r"sft_loss is the mean .* one number, not \(3,\)"):
        losses.orpo_loss(a, b, a)


@pytest.mark.parametrize("field", ["labels", "ref_logps", "weights", "desirable_probability"])
def test_single_rows_of_other_shapes_are_refused(field):
    given = {"policy_logps": torch.zeros(3), "labels": torch.ones(3, dtype=torch.bool), "ref_logps": torch.zeros(3)}
    given |= {"weights": torch.ones(3), "desirable_probability": torch.ones(3)}
    with pytest.raises(ValueError, match=r"unpaired rows: .*\(3, 1\).* differ in shape"):
        unpaired_loss("bco", **given | {field: given[field][:, None]})
    with pytest.raises(ValueError, match=r"mismatched rows: .*\(2,\), .*\(1,\) differ in shape"):
        unpaired_loss("kto", **given, policy_mismatched_logps=[-1.0, -2.0], ref_mismatched_logps=[-1.0])


def test_labels_that_are_numbers_are_refused():
    with pytest.raises(ValueError, match="labels must be bool, True for desirable, not torch.int64"):
        unpaired_loss("bco", [-1.0, -2.0], torch.tensor([1, 0]), [-1.0, -1.0])


def test_what_is_missing_unknown_or_of_the_other_kind_is_named():
    sides = ([-1.0], [-2.0])
    with pytest.raises(MissingInputError, match="`reference_chosen_logps`"):
        losses.ipo_loss(*sides)
    with pytest.raises(MissingInputError, match="`chosen_token_counts`"):
        losses.simpo_loss(*sides)
    with pytest.raises(ValueError, match="simpo: unknown hyper-parameter 'gama'. Did you mean 'gamma'?"):
        losses.simpo_loss(*sides, gama=1.0)
    with pytest.raises(ValueError, match="'kto' takes unpaired; call unpaired_loss"):
        pair_loss("kto", *sides)
    with pytest.raises(ValueError, match="'dpo' takes pairs; call pair_loss"):
        unpaired_loss("dpo", [-1.0], [True])
    with pytest.raises(ValueError, match="hinge: there is no row"):
        losses.hinge_loss([], [], [], [])


def test_what_stands_beside_the_methods_refuses_shapes_too():
    row, column = torch.zeros(3), torch.zeros(3, 1)
    with pytest.raises(ValueError, match=r"margins \(3, 1\).* differ in shape"):
        losses.reward_model_loss(row, row, margins=column)
    with pytest.raises(ValueError, match=r"weights \(3, 1\) differ in shape"):
        losses.reward_bce_loss(row, row, weights=column)
    with pytest.raises(ValueError, match=r"WPO's weights: chosen \(3,\), rejected \(3, 1\) differ"):
        wpo_weights(row, column)
    with pytest.raises(ValueError, match=r"tails: .*policy_rejected \(3, 1\) differ"):
        length_desensitised(PairLogps(row, row, row, row), TailLogps(row, column), 0.5, reference_too=False)
    tokens, mask, config = torch.zeros(3, 4), torch.ones(3, 4, dtype=torch.bool), PPOConfig()
    for wrong in (
        lambda: shaped_rewards(row, tokens, tokens[:, :1], mask, config),
        lambda: shaped_rewards(row[:1], tokens, tokens, mask, config),
        lambda: generalised_advantages(tokens, tokens[:1], mask, config),
        lambda: policy_losses(tokens, tokens, row, mask, config),
        lambda: value_losses(tokens, tokens, tokens, mask[:, :1], config),
    ):
        with pytest.raises(ValueError, match=r"^PPO: .* differ in shape; give one number a"):
            wrong()


def test_a_method_s_own_settings_reach_its_function():
    batch = full_batch("simpo")
    first, _ = called("simpo", batch, gamma=0.0)
    assert float(first) != float(called("simpo", batch, gamma=2.0)[0])
    assert loss_method("simpo", {"gamma": 2.0}).config.gamma == 2.0
