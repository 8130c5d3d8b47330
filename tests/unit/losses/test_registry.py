"""The table of methods: what it says of each, and which methods need a whole step at once."""

import dataclasses

import pytest

from tests.loss_cases import DEFAULTS, SPECIAL
from thumbline.losses import LOSSES, ROLLOUTS, loss_config, loss_method, loss_spec
from thumbline.losses.ppo import PPOConfig
from thumbline.losses.registry import describe
from thumbline.losses.rloo import RLOOConfig


@pytest.mark.parametrize(
    ("method", "settings", "mean"),
    [("dpo", {}, False), ("ipo", {}, True), ("ipo", {"reading": "sum"}, False), ("orpo", {}, True), ("cpo", {}, False)],
)
def test_a_reward_is_a_mean_or_a_sum(method, settings, mean):
    assert loss_method(method, settings).per_token is mean


def test_what_depends_on_settings_is_said_for_these_settings():
    assert loss_method("kto", {}).needs_mismatched
    assert not loss_method("kto", {"reference_point": "zero"}).needs_mismatched
    assert loss_method("orpo", {"nll_over": "prompt_and_chosen", "lambda_orpo": 0.3}).needs_prompt_nll
    assert loss_method("orpo", {"lambda_orpo": 0.3}).reward_scale == 0.3


def test_class_counts_are_filled_in_where_a_method_takes_them_and_they_are_not_set():
    assert LOSSES["kto"].counted({"beta": 0.2}, 3, 4) == {"beta": 0.2, "n_desirable": 3, "n_undesirable": 4}
    assert LOSSES["kto"].counted({"n_desirable": 9}, 3, 4) == {"n_desirable": 9, "n_undesirable": 4}
    assert LOSSES["bco"].counted({"beta": 0.2}, 3, 4) == {"beta": 0.2}


@pytest.mark.parametrize(
    ("method", "settings", "whole"),
    [
        ("dpo", {}, False),
        ("aot", {}, True),
        ("aot_unpaired", {}, True),
        ("kto", {}, False),
        ("kto", {"reduction": "rows"}, False),
        ("kto", {"reduction": "classes"}, True),
        ("bco", {}, False),
        ("bco_pair", {}, False),
        ("bco_pair", {"shift": "zero"}, False),
        ("bco_pair", {"shift": "batch"}, True),
    ],
)
def test_a_loss_over_the_batch_takes_whole_steps(method, settings, whole):
    assert loss_method(method, settings).takes_whole_steps is whole


def test_a_method_or_setting_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="unknown method 'dpoo'"):
        loss_method("dpoo", {})
    with pytest.raises(ValueError, match="dpo: unknown hyper-parameter 'shift'"):
        loss_method("dpo", {"shift": "batch"})


def test_a_row_of_the_description():
    found = {row["method"]: row for row in describe()}
    assert found["ipo"] == {
        "method": "ipo",
        "title": "IPO",
        "data": "pairs",
        "reference": "log-probs",
        "weights held": "2x (1x stored)",
        "hyper-parameters": "beta=0.1, reading=mean, soft_labels=False",
        "use it for": "Pairs whose labels are nearly certain; DPO overfits them.",
    }
    assert found["simpo"]["weights held"] == "1x"


def test_the_defaults_of_every_method():
    assert {name: dataclasses.asdict(loss_config(name, {})) for name in DEFAULTS} == DEFAULTS
    assert dataclasses.asdict(PPOConfig()) == {
        "kl_coefficient": 0.05,
        "clip_range": 0.2,
        "value_clip_range": 0.2,
        "discount": 1.0,
        "trace_decay": 0.95,
        "value_coefficient": 0.1,
        "whiten_rewards": False,
        "whiten_advantages": True,
    }
    assert dataclasses.asdict(RLOOConfig()) == {
        "kl_coefficient": 0.05,
        "clip_range": 0.2,
        "normalise_advantages": False,
    }


def test_what_methods_take_and_which_have_a_value_over_the_step():
    known = {name: LOSSES[name] for name in DEFAULTS}
    assert {name for name, spec in known.items() if spec.step_statistic} == {"kto", "bco"}
    assert {name for name, spec in known.items() if spec.rows == "unpaired"} == {"kto", "bco", "sft"}
    assert {name for name, spec in known.items() if not spec.needs_reference} == {
        "orpo",
        "simpo",
        "alphapo",
        "cpo",
        "sft",
    }
    assert {name for name, spec in known.items() if not spec.takes_weights} == {"aot", "aot_unpaired"}


def test_a_new_method_brings_its_own_file_and_no_entry_here():
    assert set(DEFAULTS) <= set(LOSSES)
    assert set(SPECIAL) <= set(LOSSES)


def test_names_that_are_half_alike_are_suggested_and_others_are_not():
    with pytest.raises(ValueError) as near:
        loss_config("dpo", {"smooth": 0.1})
    assert str(near.value) == (
        "dpo: unknown hyper-parameter 'smooth'. Did you mean 'label_smoothing'? "
        "Known: beta, label_smoothing, robust, soft_labels."
    )
    with pytest.raises(ValueError) as far:
        loss_spec("zzzzzz")
    assert str(far.value) == f"unknown method 'zzzzzz'. Known: {', '.join(sorted((*LOSSES, *ROLLOUTS)))}."


def test_a_boolean_is_no_hyper_parameter_that_is_a_number():
    with pytest.raises(TypeError, match="dpo: beta has to be a number, not True"):
        loss_config("dpo", {"beta": True})
    assert loss_config("dpo", {"beta": 1}).beta == 1
    assert loss_config("dpo", {"robust": True}).robust
