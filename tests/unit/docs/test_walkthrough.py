"""The walkthrough goes down the whole line, and each of its tables holds what a run's would."""

import polars as pl
import pytest

from tests.tiny import save_tiny_model
from thumbline.pipeline import walkthrough
from thumbline.pipeline.tables import polars_schema


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tables(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return walkthrough.walk(walkthrough.SAMPLE_LOG, str(model), folder, prompts=8, steps=2)


def test_the_tables_are_the_line_s(tables):
    names = list(tables)
    line = ["events", "responses", "unpaired", "pairs", "splits", "sequences", "reference", "policy", "metrics"]
    assert [name for name in names if name in line] == line
    for name in ("events", "responses", "unpaired", "pairs", "splits", "sequences", "row_sequences"):
        # In memory, events and answers hold their texts.
        held = name in ("events", "responses")
        assert dict(tables[name].schema) == polars_schema(name, optional=held), name


def test_every_table_has_rows(tables):
    assert {name for name, table in tables.items() if table.is_empty()} == set()


def test_training_moves_the_model(tables):
    losses = tables["training_log"].filter(pl.col("metric") == "loss")["value"]
    # Before the first step every margin is zero: ln 2.
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    both = tables["policy"].join(tables["reference"], on="sequence_id", validate="1:1")
    assert (both["logps"] != both["logps_right"]).any()


def test_the_verdict_is_a_sentence(tables):
    assert tables["verdict"].item().endswith(".")


def test_it_is_shown(model, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["walkthrough", str(model)])
    walkthrough.main()
    shown = capsys.readouterr().out
    assert shown.index("events:") < shown.index("pairs:") < shown.index("verdict:")
