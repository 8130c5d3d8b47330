"""`thumbline.prepare`: rows from anywhere become the tables that the command makes, and say what became of them."""

import json
from datetime import UTC, datetime

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import thumbline
from thumbline.pipeline import line
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.reading.records import RowError

ROWS = [
    {"prompt": f"Question {number}?", "response": f"Answer {answer}.", "feedback": "up" if answer else "down"}
    for number in range(8)
    for answer in (0, 1)
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
FRAMES = {
    "rows": ROWS,
    "columns": COLUMNS,
    "generator": (row for row in ROWS),
    "polars": pl.DataFrame(ROWS),
    "lazy": pl.LazyFrame(ROWS),
    "pandas": pd.DataFrame(ROWS),
    "arrow": pa.table(COLUMNS),
    "datasets": datasets.Dataset.from_list(ROWS),
    "datasets, chosen rows": datasets.Dataset.from_list([*ROWS, *ROWS]).select(range(16, 32)),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"broken\n')
    return path


@pytest.fixture(scope="module")
def prepared(log):
    return thumbline.prepare(log)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_of_any_library_is_read_as_a_file_of_its_rows(kind, prepared):
    made = thumbline.prepare(FRAMES[kind])
    assert made.events["event_id"].sort().equals(prepared.events["event_id"].sort())
    assert made.pairs.equals(prepared.pairs)
    assert made.unpaired.equals(prepared.unpaired)


def test_tables_and_counts_are_those_of_the_command(prepared, log, tmp_path):
    config = run_config([str(log)], tmp_path / "out", "demo")
    for _ in line.run(config, line.select(None, "splits")):
        pass
    places = {name: stage for stage, manifest in prepared.manifests.items() for name in manifest.outputs}
    for name, frame in prepared.tables.items():
        assert frame.equals(pl.read_parquet(tmp_path / "out" / places[name] / f"{name}.parquet")), name
    assert prepared.counts["stage"].to_list() == ["events", "responses", "unpaired", "pairs", "splits"]
    assert prepared.counts.row(0)[1:6] == (17, 17, 16, 0, 1)
    assert prepared.reasons == {"broken_json": 1}
    assert prepared.rejects["source_line"].to_list() == [17]
    assert len(prepared.pairs) == 8 and len(prepared.splits) == 8 and len(prepared.responses) == 16


def test_events_and_answers_come_with_their_texts(prepared):
    texts = prepared.tables["texts"]
    for name, rows in (("events", prepared.events), ("responses", prepared.responses)):
        assert not {"prompt", "completion"} & set(prepared.tables[name].columns)
        assert rows.drop("prompt", "tools", "completion", "completion_extra").equals(prepared.tables[name])
        own = rows.select("response_id", "completion").join(texts, on="response_id", validate="m:1")
        assert own.height == rows.height and own["completion"].equals(own["completion_right"])
    with pytest.raises(KeyError, match="texts lie in table texts 'pairs'.*Known: events, responses"):
        prepared.tables.with_texts("pairs")


def test_several_files_globs_and_a_hub_folder_are_inputs(log, tmp_path):
    (tmp_path / "more.jsonl").write_text(json.dumps({**ROWS[0], "prompt": "Another?"}) + "\n")
    assert len(thumbline.prepare([log, str(tmp_path / "*.jsonl")]).events) == 17
    (tmp_path / "set").mkdir()
    pl.DataFrame(ROWS).write_parquet(tmp_path / "set" / "train.parquet")
    assert len(thumbline.prepare(f"hub:{tmp_path / 'set'}").events) == 16


def test_settings_are_sections_or_dotted_keys(log):
    none = thumbline.prepare(log, pairs={"min_margin": 1.0}, **{"splits.test": 0.5, "responses.prior_up": 2.0})
    assert len(none.pairs) == 0
    assert none.settings.splits.test == 0.5 and none.settings.responses.prior_up == 2.0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pairs.strateg": 1}, "thumbline.prepare: 1 setting.*unknown key 'strateg'. Did you mean 'strategy'"),
        ({"pair": {"strategy": "x"}}, "unknown key 'pair'. Did you mean 'pairs'"),
        ({"model": "x"}, "thumbline.prepare: 'model' is no setting here"),
        ({"pairs": {"a": 1}, "pairs.a.b": 2}, "thumbline.prepare: pairs.a.b: 'a' is a value, not a section"),
        ({"events": None}, "thumbline.prepare: 'events' is a section"),
        ({"adapter": "trl"}, "thumbline.prepare: an adapter is a function; a format is named by `format`"),
        ({"format": "nothing"}, "events.format: unknown format 'nothing'"),
    ],
)
def test_a_wrong_setting_is_a_config_error(log, settings, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        thumbline.prepare(log, **settings)


@pytest.mark.parametrize(
    "given, message",
    [
        (7, "a int holds no rows; give a path, glob"),
        ([1, 2], "row 1 is a int, not a dict"),
        ([{"prompt": object()}], "row 1 holds what JSON cannot .a object"),
        ({"a": [1, 2], "b": [1]}, "a dict cannot be read as a table"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)),
            "it holds several data sets; give one of 'train'",
        ),
        ("nowhere.jsonl", "nowhere.jsonl: no such file"),
        ([{"a": 1}], "no format fits the fields a"),
    ],
)
def test_what_holds_no_rows_is_an_input_error(given, message):
    with pytest.raises(InputError, match=message):
        thumbline.prepare(given)


def test_values_of_pandas_and_numpy_in_rows_are_what_they_stand_for():
    odd = {"created_at": pd.Timestamp("2026-01-01"), "a": pd.NaT, "b": pd.NA, "c": np.zeros(2), "d": np.float32(0.5)}
    made = thumbline.prepare([{**row, **odd} for row in ROWS])
    assert made.events["created_at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)] * len(ROWS)
    assert not made.reasons


def test_a_row_that_holds_itself_is_an_input_error():
    row = dict(ROWS[0])
    row["itself"] = row
    with pytest.raises(InputError, match="row 1 holds what JSON cannot"):
        thumbline.prepare([row])


def test_an_integer_of_any_size_is_read():
    assert len(thumbline.prepare([{**row, "number": 10**40} for row in ROWS]).events) == len(ROWS)


def test_frames_that_cannot_be_read_or_kept_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="a LazyFrame cannot be read as a table .FileNotFoundError"):
        thumbline.prepare(pl.scan_parquet(tmp_path / "none.parquet"))
    objects = pl.Series("x", [object()] * len(ROWS), dtype=pl.Object)
    with pytest.raises(InputError, match="the DataFrame has a column that Parquet cannot hold"):
        thumbline.prepare(pl.DataFrame(ROWS).with_columns(objects))


@pytest.mark.parametrize("given", [ROWS, pl.DataFrame(ROWS), "log"], ids=["rows", "frame", "file"])
def test_a_file_where_the_folder_should_be_is_an_input_error(given, log, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out.*: no folder can be made here"):
        thumbline.prepare(log if isinstance(given, str) else given, output=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_rows_that_cannot_be_used_are_rejected_one_by_one():
    made = thumbline.prepare([*ROWS, {"prompt": "Only that."}, {**ROWS[0], "feedback": "meh", "score": np.int64(3)}])
    assert made.reasons == {"missing_field": 1, "unknown_label": 1}
    assert made.rejects["source_line"].to_list() == [17, 18]


# The format of one's own in ten lines.
def stars(row):
    if row["stars"] == 3:
        raise ValueError("three stars say neither")
    vote = "up" if row["stars"] > 3 else "down"
    return {"prompt": row["q"], "completion": row["a"], "vote": vote, "user_id": row["who"]}


RATED = [{"q": "Hi?", "a": f"Answer {n}.", "stars": n, "who": "ann"} for n in (1, 3, 5)]


@pytest.mark.parametrize("given", [RATED, pl.DataFrame(RATED)], ids=["rows", "frame"])
def test_an_adapter_reads_a_format_of_ones_own(given):
    made = thumbline.prepare(given, adapter=stars)
    assert sorted(made.events["vote"]) == ["down", "up"]
    assert made.events["format"].unique().to_list() == ["own"]
    assert made.reasons == {"refused": 1}
    assert made.rejects["source_line"].to_list() == [2]
    assert len(made.pairs) == 1


def test_an_adapter_may_give_several_events_or_refuse_a_row_with_a_reason():
    def both(row):
        if row["stars"] == 5:
            raise RowError("too_good", "five stars")
        return [{"prompt": row["q"], "completion": f"{row['a']} {side}", "vote": side == "a"} for side in "ab"]

    made = thumbline.prepare([*RATED, {**RATED[0], "q": "Again?"}], adapter=both)
    assert len(made.events) == 6 and made.reasons == {"too_good": 1}


def test_an_adapter_reads_files_too_and_its_broken_lines_are_rejects(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in RATED) + "{broken\n")
    assert thumbline.prepare(path, adapter=stars).reasons == {"broken_json": 1, "refused": 1}


def test_an_adapter_runs_again_in_a_folder_that_is_kept(tmp_path):
    assert len(thumbline.prepare(RATED, adapter=stars, output=tmp_path / "out").pairs) == 1
    again = thumbline.prepare(RATED, adapter=lambda row: {**stars(row), "vote": "up"}, output=tmp_path / "out")
    assert again.events["vote"].to_list() == ["up", "up"]


def test_an_adapter_and_a_format_exclude_each_other():
    with pytest.raises(ConfigError, match="format 'trl' and an adapter cannot both read the rows"):
        thumbline.prepare(RATED, adapter=stars, format="trl")


def test_the_settings_of_a_prepared_folder_say_that_its_function_is_gone(tmp_path):
    made = thumbline.prepare(RATED, adapter=stars, output=tmp_path / "out")
    with pytest.raises(ConfigError, match="format 'own' is a function that was given to one call"):
        for _ in line.run(made.settings, line.select(None, "events"), forced=True):
            pass


def test_the_folder_lives_as_long_as_its_result(log):
    made = thumbline.prepare(log)
    folder = made.folder
    assert made.report.is_file() and made.report.is_relative_to(folder)
    tables = made.tables
    del made
    assert len(tables["pairs"]) == 8
    del tables
    assert not folder.exists()


def test_a_given_folder_is_what_the_command_leaves(log, tmp_path):
    made = thumbline.prepare(log, output=tmp_path / "out")
    assert made.report == tmp_path / "out" / "data_report.html" and made.report.is_file()
    rows = datasets.load_dataset(str(made.dataset), "pairs", split="train", cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected"} <= set(rows.column_names)
    events = (tmp_path / "out" / "events" / "events.parquet").stat().st_mtime_ns
    thumbline.prepare(log, output=tmp_path / "out")
    assert (tmp_path / "out" / "events" / "events.parquet").stat().st_mtime_ns == events


def test_a_prepared_folder_can_be_loaded_later(log, tmp_path):
    made = thumbline.prepare(log, output=tmp_path / "out")
    loaded = thumbline.load(tmp_path / "out")
    assert loaded.tables["pairs"].equals(made.pairs)
    assert loaded.reasons == made.reasons


def test_the_view_counts_and_escapes(prepared):
    shown = prepared._repr_html_()
    assert "broken_json" in shown and "<td align='right'>17</td>" in shown and "Question" in shown
    rows = [{**row, "prompt": "<script>alert(1)</script>" + "x" * 300} for row in ROWS]
    shown = thumbline.prepare(rows)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "x" * 200 not in shown
    assert repr(prepared) == "<thumbline.Prepared: 16 events, 16 unpaired, 8 pairs; 1 rejected>"


def test_where_nothing_can_be_used_the_error_says_why():
    rows = [{"prompt": "Only that.", "response": "x", "feedback": "meh"}]
    with pytest.raises(InputError, match="1 of 1 row was rejected.*\n  unknown_label 1: "):
        thumbline.prepare(rows)


def test_where_no_vote_is_left_the_error_says_what_was_rejected_before():
    rows = [{"prompt": f"q{n}", "response": "x", "feedback": vote} for n, vote in enumerate([None, None, "meh"])]
    with pytest.raises(InputError, match=r"nothing to split.*Rejected rows by reason: unknown_label 1\."):
        thumbline.prepare(rows)
