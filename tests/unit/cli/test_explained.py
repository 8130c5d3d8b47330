"""Commands that explain what there is: settings, tables and methods, for people and for programs."""

import json

import pytest
from typer.testing import CliRunner

from thumbline.losses import LOSSES
from thumbline.losses.describing import attributes, describe_method
from thumbline.pipeline.cli.main import app, loudness_first
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.config.schema import run_schema
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.tables import TABLES, describe_table
from thumbline.pipeline.tables.meanings import BY_TABLE, SHARED
from thumbline.pipeline.training.methods import main_method


def printed(*arguments):
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "1000"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_settings_lists_the_sections_of_a_run_file():
    lines = printed("settings").splitlines()
    assert lines[1].split()[:4] == ["(the", "file", "itself)", "5"]
    assert [line.split()[0] for line in lines if "Which prompt groups train" in line] == ["splits"]
    assert lines[-1] == "`thumbline settings SECTION` explains its settings."


def test_settings_explains_a_section_and_a_key():
    assert "splits.test  number from 0 to 1 (share of rows); default 0.2\n    Share of the rows that" in printed(
        "settings", "splits"
    )
    assert printed("settings", "train.max_steps") == (
        "train.max_steps  whole number, at least 1 (steps); default unset\n    Stop after this many optimiser steps.\n"
    )
    assert "events.inputs  list of text; required\n" in printed("settings", "inputs")
    assert "train.lora  section\n" in printed("settings", "train")
    assert "pairs.strategy  best_worst | all_above_margin; default best_worst\n" in printed("settings", "strategy")


def test_settings_points_from_a_reward_s_beta_to_the_methods():
    assert "`thumbline losses METHOD` explains the hyper-parameters" in printed("settings", "beta")


def test_settings_for_programs():
    found = json.loads(printed("settings", "train.epochs", "--json"))
    assert [(one["key"], one["default"], one["unit"]) for one in found] == [("train.epochs", 1.0, "epochs")]
    assert len(json.loads(printed("settings", "--json"))) > 150
    assert json.loads(printed("settings", "--schema")) == run_schema()
    with pytest.raises(ConfigError, match="the schema is of the whole run file"):
        printed("settings", "train", "--schema")


def test_a_table_s_columns_have_a_type_a_range_and_a_meaning():
    text = printed("tables", "events")
    assert "propensity  Float64; above 0.0, at most 1.0; may be null\n    The logged chance that this answer" in text
    assert "vote  up | down | retracted |" in text
    reference = printed("tables", "reference")
    assert "token_logps  List(Float32); the column may be absent\n" in reference
    words = [" ".join(one.split()) for one in (reference, printed("tables", "policy"))]
    assert "under the reference model." in words[0] and "under the trained model." in words[1]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_column_of_every_table_has_a_meaning(table):
    assert [row["column"] for row in describe_table(table) if not row["meaning"].endswith(".")] == []


def test_no_meaning_is_of_a_column_that_is_not_there():
    assert {
        (table, name) for table, named in BY_TABLE.items() for name in named if name not in TABLES[table].columns
    } == set()
    assert set(SHARED) - {name for table in TABLES.values() for name in table.columns} == set()


@pytest.mark.parametrize("method", LOSSES)
def test_every_hyper_parameter_is_explained(method):
    rows = describe_method(method)
    assert rows and all(row["meaning"].endswith(".") and row["takes"] and row["default"] for row in rows)


def test_losses_explains_a_method_and_refuses_an_unknown_one():
    text = printed("losses", "kto")
    assert "beta  number; default 0.1\n    Above 0." in text
    assert "reference_point  mismatched | batch | zero; default mismatched\n" in text
    assert "desirable_weight  number; default unset\n" in text
    with pytest.raises(ConfigError, match="unknown method 'kta'. Did you mean 'kto'?"):
        printed("losses", "kta")


def test_a_class_without_a_docstring_explains_nothing():
    assert attributes(type("Bare", (), {})) == {}


def test_a_table_that_is_not_there_is_a_users_mistake():
    with pytest.raises(ConfigError, match=r"^unknown table 'pair'\. Did you mean 'pairs'\?"):
        printed("tables", "pair")


def test_options_of_all_commands_may_stand_anywhere():
    assert loudness_first(["run", "a.yaml", "-q", "--set", "x=1"]) == ["-q", "run", "a.yaml", "--set", "x=1"]
    assert loudness_first(["status", "--", "-q"]) == ["status", "--", "-q"]


@pytest.mark.parametrize(("name", "setting"), [("LD-DPO", "train.ld_alpha: 0.5"), ("wpo", "train.weighting: wpo")])
def test_methods_that_are_settings_are_found_by_name(name, setting):
    assert setting in printed("losses", name)
    assert setting in printed("losses")
    with pytest.raises(ConfigError, match=f"set {setting} beside a method on pairs, dpo for one"):
        main_method(TrainConfig(method=name))
