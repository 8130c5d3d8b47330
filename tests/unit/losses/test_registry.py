"""The table of methods: what it says of each, and which methods need a whole step at once."""

import pytest

from losses import LOSSES, loss_config, loss_spec, takes_whole_steps
from losses.registry import describe


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
    assert takes_whole_steps(method, settings) is whole


def test_whole_steps_of_what_is_unknown_are_refused():
    with pytest.raises(ValueError, match="unknown method 'dpoo'"):
        takes_whole_steps("dpoo", {})
    with pytest.raises(ValueError, match="dpo: unknown hyper-parameter 'shift'"):
        takes_whole_steps("dpo", {"shift": "batch"})


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


def test_only_methods_on_single_thumbs_have_a_value_over_the_step():
    assert {name for name, spec in LOSSES.items() if spec.step_statistic} == {"kto", "bco"}
    assert {name for name, spec in LOSSES.items() if not spec.paired} == {"kto", "bco"}


def test_names_that_are_half_alike_are_suggested_and_others_are_not():
    with pytest.raises(ValueError) as near:
        loss_config("dpo", {"smoothing": 0.1})
    assert str(near.value) == (
        "dpo: unknown hyper-parameter 'smoothing'. Did you mean 'label_smoothing'? "
        "Known: beta, label_smoothing, robust, soft_labels."
    )
    with pytest.raises(ValueError) as far:
        loss_spec("zzzzzz")
    assert str(far.value) == f"unknown method 'zzzzzz'. Known: {', '.join(sorted(LOSSES))}."
