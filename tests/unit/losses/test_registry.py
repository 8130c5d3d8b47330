"""The table of methods: what it says of each, and which methods need a whole step at once."""

import dataclasses

import pytest

from thumbline.losses import LOSSES, loss_config, loss_method, loss_spec
from thumbline.losses.ppo import PPOConfig
from thumbline.losses.registry import describe


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


# A default that moves changes every run that does not set it.
DEFAULTS = {
    "dpo": {"beta": 0.1, "label_smoothing": 0.0, "robust": False, "soft_labels": False},
    "dpo_norm": {"beta": 5.0, "label_smoothing": 0.0, "soft_labels": False},
    "f_dpo": {
        "beta": 0.1,
        "divergence": "jensen_shannon",
        "alpha": 0.5,
        "label_smoothing": 0.0,
        "soft_labels": False,
    },
    "rpo": {"beta": 0.1, "alpha": 1.0, "label_smoothing": 0.0, "soft_labels": False},
    "ipo": {"beta": 0.1, "reading": "mean", "soft_labels": False},
    "hinge": {"beta": 0.1, "soft_labels": False},
    "exo": {"beta": 0.1, "label_smoothing": 0.001, "soft_labels": False},
    "nca": {"beta": 0.1, "soft_labels": False},
    "apo_zero": {"beta": 0.1, "soft_labels": False},
    "apo_down": {"beta": 0.1, "soft_labels": False},
    "sppo": {"beta": 0.1, "soft_labels": False},
    "bco_pair": {"beta": 0.1, "shift": "zero", "soft_labels": False},
    "discopop": {"beta": 0.1, "tau": 0.05, "soft_labels": False},
    "aot": {"beta": 0.1, "label_smoothing": 0.0},
    "aot_unpaired": {"beta": 0.1, "label_smoothing": 0.0},
    "kto": {
        "beta": 0.1,
        "reference_point": "mismatched",
        "desirable_weight": None,
        "undesirable_weight": None,
        "reduction": "rows",
        "soft_labels": False,
        "n_desirable": 1,
        "n_undesirable": 1,
    },
    "bco": {"beta": 0.1, "soft_labels": False},
    "orpo": {"lambda_orpo": 0.1, "nll_over": "chosen", "soft_labels": False},
    "simpo": {"beta": 2.0, "gamma": 0.5, "gamma_unit": "reward", "label_smoothing": 0.0, "soft_labels": False},
    "alphapo": {"beta": 2.5, "gamma": 0.25, "alpha": 0.25, "soft_labels": False},
    "cpo": {"beta": 0.1, "alpha": 1.0, "label_smoothing": 0.0, "soft_labels": False},
}


def test_the_defaults_of_every_method():
    assert {name: dataclasses.asdict(loss_config(name, {})) for name in LOSSES} == DEFAULTS
    assert dataclasses.asdict(PPOConfig()) == {
        "kl_coefficient": 0.05,
        "clip_range": 0.2,
        "value_clip_range": 0.2,
        "discount": 1.0,
        "trace_decay": 0.95,
    }


def test_what_methods_take_and_which_have_a_value_over_the_step():
    assert {name for name, spec in LOSSES.items() if spec.step_statistic} == {"kto", "bco"}
    assert {name for name, spec in LOSSES.items() if not spec.paired} == {"kto", "bco"}
    assert {name for name, spec in LOSSES.items() if not spec.needs_reference} == {"orpo", "simpo", "alphapo", "cpo"}


def test_names_that_are_half_alike_are_suggested_and_others_are_not():
    with pytest.raises(ValueError) as near:
        loss_config("dpo", {"smooth": 0.1})
    assert str(near.value) == (
        "dpo: unknown hyper-parameter 'smooth'. Did you mean 'label_smoothing'? "
        "Known: beta, label_smoothing, robust, soft_labels."
    )
    with pytest.raises(ValueError) as far:
        loss_spec("zzzzzz")
    assert str(far.value) == f"unknown method 'zzzzzz'. Known: {', '.join(sorted(LOSSES))}."
