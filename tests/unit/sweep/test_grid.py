"""What varies in a sweep: how it is written, what it is called, and what may not vary."""

import re

import pytest

from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.sweep.grid import (
    Axis,
    check_axes,
    combinations,
    described,
    parse_axis,
    setting_name,
    short_keys,
    trial_name,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("train.loss.beta=0.05,0.1", "train.loss.beta", (0.05, 0.1)),
        # YAML takes a number without a point for text.
        ("train.learning_rate=1e-5, 4E-5,.5e+1", "train.learning_rate", (1e-5, 4e-5, 5.0)),
        ("train.method=dpo,ipo", "train.method", ("dpo", "ipo")),
        ("train.gradient_checkpointing=true,false", "train.gradient_checkpointing", (True, False)),
        ("train.max_steps=3,null", "train.max_steps", (3, None)),
        (
            "train.also=[],[{method: ipo, weight: 0.5}]",
            "train.also",
            ([], [{"method": "ipo", "weight": 0.5}]),
        ),
    ],
)
def test_values_are_read_as_a_run_file_has_them(text, key, values):
    assert parse_axis(text) == Axis(key, values)


@pytest.mark.parametrize("text", ["train.loss.beta", "=0.1", "train.loss.beta=", "train.loss.beta"])
def test_what_is_no_axis_is_refused(text):
    with pytest.raises(ConfigError, match="write it as KEY=V1,V2"):
        parse_axis(text)


@pytest.mark.parametrize("listed", ["[{", "2001-99-99", "'", "{a: 1, a: 2}"])
def test_values_that_are_no_yaml_are_refused(listed):
    with pytest.raises(ConfigError, match="not readable as YAML"):
        parse_axis(f"train.also={listed}")


def test_a_value_inside_itself_is_refused():
    with pytest.raises(ConfigError, match="levels inside one another"):
        parse_axis("train.also=&a [*a]")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("pairs.strategy", "it changes the data, and trials are compared on the same rows"),
        ("splits.salt", "it changes the data"),
        ("reference.dtype", "it changes the sequences or their reference log-probs, which all trials share"),
        ("sequences.max_tokens", "which all trials share"),
        ("model", "which all trials share"),
        ("metrics.beta", "it changes what is measured, not what is trained"),
        ("report.title", "it changes what is measured"),
        ("name", "it names a run"),
        ("trian.method", "unknown section 'trian'. Did you mean 'train'"),
        ("train.seed", "--seeds repeats every setting"),
        ("train", "name a setting of train"),
        ("train.", "name a setting of train"),
    ],
)
def test_a_key_that_may_not_vary_is_refused_with_the_reason(key, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        check_axes([Axis(key, (1, 2))])


def test_no_axis_one_given_twice_and_one_without_a_value_are_refused():
    beta = Axis("train.loss.beta", (0.1,))
    for axes, reason in (
        ([], "nothing varies"),
        ([beta, beta], "given more than once"),
        ([beta._replace(values=())], "it has no value"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_axes(axes)


def test_every_combination_is_there_and_the_last_axis_changes_fastest():
    axes = [Axis("train.loss.beta", (0.1, 0.5)), Axis("train.learning_rate", (1, 2, 3))]
    made = [tuple(values.values()) for values in combinations(axes)]
    assert made == [(0.1, 1), (0.1, 2), (0.1, 3), (0.5, 1), (0.5, 2), (0.5, 3)]


def test_names_say_the_values_and_fit_a_folder():
    values = {"train.loss.beta": 0.1, "train.learning_rate": 1e-5}
    assert setting_name(values) == "beta_0.1__learning_rate_1e-05"
    assert trial_name(setting_name(values), 2) == "beta_0.1__learning_rate_1e-05__seed_2"
    assert described(values) == "beta 0.1, learning_rate 1e-05"


def test_a_large_number_is_not_taken_for_a_small_one():
    names = [setting_name({"train.learning_rate": value}) for value in (1e30, 1e-30)]
    assert names == ["learning_rate_1e30", "learning_rate_1e-30"]


def test_values_that_are_no_name_keep_apart_by_a_digest():
    values = [["q_proj"], ["q_proj", "v_proj"], "../../etc", "a/b", "a b", {"x": "y" * 500}, None, True, -1.5]
    names = [setting_name({"train.lora.target_modules": value}) for value in values]
    assert len(set(names)) == len(values)
    assert all(NAME.fullmatch(name) and len(name) < 200 for name in names), names
    assert names[-3:] == ["target_modules_null", "target_modules_true", "target_modules_-1.5"]
    many = {f"train.loss.hyper_parameter_{place}": 0.1 for place in range(20)}
    assert len(setting_name(many)) < 200 and NAME.fullmatch(setting_name(many))
    assert setting_name(many) != setting_name(many | {"train.loss.hyper_parameter_19": 0.2})


def test_keys_are_as_short_as_they_can_be_told_apart():
    assert short_keys(["train.loss.beta", "train.learning_rate"]) == {
        "train.loss.beta": "beta",
        "train.learning_rate": "learning_rate",
    }
    assert short_keys(["train.loss.alpha", "train.lora.alpha", "train.alpha"]) == {
        "train.loss.alpha": "loss.alpha",
        "train.lora.alpha": "lora.alpha",
        "train.alpha": "train.alpha",
    }
