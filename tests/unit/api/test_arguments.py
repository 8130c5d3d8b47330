"""An argument of the wrong type is refused by its name, not by what a library makes of it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import thumbline
from tests.line.test_commands import scored_pairs
from thumbline.pipeline.api.arguments import check_numbers, check_paths, check_texts, check_whole, texts_of
from thumbline.pipeline.api.runs import Tables
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.errors import ConfigError, InputError

WRONG = ["3", b"3", [3], {}, pl.DataFrame(), np.zeros(3), True, print]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_number_of_another_type_is_named(wrong):
    kind = type(wrong).__name__
    frame = scored_pairs()
    for name in ("draws", "seed"):
        with pytest.raises(ConfigError, match=f"{name} has to be a whole number, not a {kind}"):
            thumbline.evaluate(frame, **{name: wrong})
        with pytest.raises(ConfigError, match=f"{name} has to be a whole number, not a {kind}"):
            thumbline.ratings(frame, **{name: wrong})
    for name in ("beta", "confidence"):
        with pytest.raises(ConfigError, match=f"{name} has to be a number, not a {kind}"):
            thumbline.evaluate(frame, **{name: wrong})
    for name in ("rating_rate", "alpha", "difference"):
        with pytest.raises(ConfigError, match=f"{name} has to be a number, not a {kind}"):
            thumbline.launch_plan(base_rate=0.7, **{name: wrong})


@pytest.mark.parametrize("wrong", [3, b"x", ["a"], {}, pl.DataFrame(), True, print])
def test_what_names_a_table_is_a_text(tmp_path, wrong):
    tables = Tables(tmp_path, {})
    assert wrong not in tables
    with pytest.raises(ConfigError, match=f"name has to be a text, not a {type(wrong).__name__}"):
        tables[wrong]
    with pytest.raises(ConfigError, match="target has to be a text, not a NoneType"):
        thumbline.export(tmp_path, None)


@pytest.mark.parametrize("wrong", [3, b"x", ["a"], {}, pl.DataFrame(), True, print])
def test_a_text_of_another_type_is_named(tmp_path, wrong):
    kind = type(wrong).__name__
    with pytest.raises(ConfigError, match=f"target has to be a text, not a {kind}"):
        thumbline.export(tmp_path, wrong)
    with pytest.raises(ConfigError, match=f"output has to be a text or path, not a {kind}"):
        thumbline.export(tmp_path, output=wrong)
    with pytest.raises(ConfigError, match=f"output has to be a text or path, not a {kind}"):
        thumbline.prepare([{"prompt": "a", "completion": "b", "vote": "up"}], output=wrong)
    with pytest.raises(ConfigError, match="output holds a NUL character"):
        thumbline.prepare([{"prompt": "a", "completion": "b", "vote": "up"}], output="a\0b")
    with pytest.raises(ConfigError, match=f"metric has to be a text, not a {kind}"):
        thumbline.sweep("run.yaml", {}, metric=wrong)


@pytest.mark.parametrize("wrong", [None, 3, [["a"]], [1], pl.Series(["a"]), {"a": 1}, b"a"])
def test_a_list_of_texts_that_is_none_is_named(wrong):
    with pytest.raises(ConfigError, match="slices has to be a text or a list of texts, not a "):
        thumbline.evaluate(scored_pairs(), slices=wrong)


@pytest.mark.parametrize("wrong", [None, "train.loss.beta=0.1", [0.1], pl.DataFrame()])
def test_what_a_sweep_varies_is_a_mapping(wrong):
    with pytest.raises(ConfigError, match="over has to be a mapping of dotted keys to lists of values, not a "):
        thumbline.sweep("run.yaml", wrong)


def test_right_types_pass_numpys_too():
    check_numbers(a=1, b=0.5, c=np.float32(0.5), d=np.int64(3), e=None)
    check_whole(a=1, b=np.int64(3), c=None)
    check_texts(a="x", b=None)
    check_paths(a="x", b=None, c=Path("x"))
    assert texts_of(a=["x", "y"]) == ("x", "y")


def test_judged_pairs_that_are_not_there_are_said_to_be_no_file(tmp_path):
    for place in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match=f"{place}: no file of this name"):
            thumbline.ratings(place)


def test_an_empty_text_is_no_folder(tmp_path, monkeypatch):
    """As a path it would be the working folder: `-o "$UNSET"` writes among whatever lies there."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="output is an empty text, and no path"):
        thumbline.prepare([{"prompt": "a", "completion": "b", "vote": "up"}], output="")
    with pytest.raises(ConfigError, match="the output is an empty text, and no folder"):
        run_config(["log.jsonl"], "", "none")
    assert not list(tmp_path.iterdir())
