"""Every file of every joined format is detected as its own, and no other format's file is."""

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.joined_logs import Row, read, votes, write
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.importers.registry import IMPORTERS, detect_format
from thumbline.pipeline.importers.shared.joins import sample_rows
from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.records import Sample
from thumbline.pipeline.reading.remarks import UNREAD
from thumbline.pipeline.stages.events import ingest

EVERY_FILE = [(name, file) for name, files in FILES.items() for file in files]


@pytest.mark.parametrize(("name", "file"), EVERY_FILE)
def test_votes_and_texts_are_each_detected_as_their_own_format(tmp_path: Path, name: str, file: str) -> None:
    (path,) = write(tmp_path, {file: FILES[name][file]})
    assert detect_format(Path(path)) == name


@pytest.mark.parametrize(("name", "file"), EVERY_FILE)
def test_no_other_joined_format_would_take_the_file(name: str, file: str) -> None:
    sample = Sample(file, FILES[name][file])
    assert [other for other in FILES if IMPORTERS[other].detect(sample, {})] == [name]


def test_each_of_these_formats_reads_all_its_files_together() -> None:
    assert [name for name in FILES if IMPORTERS[name].read_together is None] == []


def test_a_folder_of_every_formats_files_is_each_formats_own_events(tmp_path: Path) -> None:
    expected = {name: len(votes(read(tmp_path / name, files))) for name, files in FILES.items()}
    result = ingest(EventsConfig(inputs=(str(tmp_path),)))
    assert result.notes["formats"] == expected
    # Of one format the files hold an answer that the tool's export cut.
    assert set(result.rejects["reason"]) <= {"truncated"}


EVERY_UP = "1, 1.0, true, up, like, thumbs_up, thumbs-up, thumbsup, 👍"


@pytest.mark.parametrize("vote", ["down", "retracted", "unrated"])
@pytest.mark.parametrize("name", FILES)
def test_stated_labels_win_in_every_format(tmp_path: Path, name: str, vote: str) -> None:
    usual = read(tmp_path, FILES[name]).events["vote"].to_list()
    stated = (
        read(tmp_path, FILES[name], options={vote: f"{EVERY_UP}, 2" if vote == "down" else EVERY_UP})
        .events["vote"]
        .to_list()
    )
    assert "up" not in stated
    assert stated.count(vote) - usual.count(vote) == usual.count("up") > 0


@pytest.mark.parametrize("name", FILES)
def test_a_number_that_is_stated_as_up(tmp_path: Path, name: str) -> None:
    stated = read(
        tmp_path, FILES[name], options={"up": "0, false, down, dislike, thumbs_down, thumbs-down, thumbsdown, 👎, 2"}
    )
    assert "down" not in stated.events["vote"].to_list()
    assert "up" in stated.events["vote"].to_list()


OPTIONS = [
    ("name", "another name", "other_feedback"),
    ("prompt", "no.such.path", "missing_field"),
    ("completion", "no.such.path", "missing_field"),
]


@pytest.mark.parametrize(("option", "value", "reason"), OPTIONS)
@pytest.mark.parametrize("name", FILES)
def test_names_and_paths_are_followed_where_a_format_has_them(
    tmp_path: Path, name: str, option: str, value: str, reason: str
) -> None:
    if option in IMPORTERS[name].options:
        result = read(tmp_path, FILES[name], options={option: value})
        assert result.events.is_empty()
        assert set(result.rejects["reason"]) == {reason}


@pytest.mark.parametrize("name", [name for name in FILES if "annotators" in IMPORTERS[name].options])
def test_only_human_and_all_are_annotators(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="annotators is 'robots', not human or all"):
        read(tmp_path, FILES[name], options={"annotators": "robots"})


@pytest.mark.parametrize("name", FILES)
def test_fields_that_nobody_knows_change_nothing(tmp_path: Path, name: str) -> None:
    more = {file: [row | {"a field of next year": {"x": [1]}} for row in rows] for file, rows in FILES[name].items()}
    expected = read(tmp_path / "a", FILES[name]).events.drop("source_file")
    assert read(tmp_path / "b", more).events.drop("source_file").equals(expected)


@pytest.mark.parametrize("name", FILES)
def test_votes_whose_texts_are_in_no_file_are_each_rejected(tmp_path: Path, name: str) -> None:
    file = next(iter(FILES[name]))
    result = read(tmp_path, {file: FILES[name][file]})
    whole = read(tmp_path, FILES[name])
    if len(FILES[name]) > 1 and name not in ("helicone", "opik"):
        assert set(result.rejects["reason"]) == {"no_trace"}
        assert result.rejects.height == whole.events.filter(whole.events["source_file"].str.ends_with(file)).height


@pytest.mark.parametrize("name", FILES)
def test_the_order_of_files_and_rows_changes_nothing(tmp_path: Path, name: str) -> None:
    turned = {file: rows[::-1] for file, rows in reversed(FILES[name].items())}
    first, second = read(tmp_path / "a", FILES[name]), read(tmp_path / "b", turned)
    assert first.events.drop("source_file", "source_line").equals(second.events.drop("source_file", "source_line"))


def test_one_source_can_be_read_alone(tmp_path: Path) -> None:
    files = FILES["langsmith"]
    (path,) = write(tmp_path, {"all.jsonl": [row for rows in files.values() for row in rows]})
    source = FileSource(Path(path), "all.jsonl", 1 << 20)
    events = [event for batch in IMPORTERS["langsmith"].read(source, {}) for event in batch.events]
    assert len(events) == len(votes(read(tmp_path / "two", files)))


def as_cells(row: Row) -> dict[str, str]:
    """A row as a spreadsheet holds it: what is no text is JSON, and nothing is an empty cell."""
    cells = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    return {name: "" if value == "null" else value for name, value in cells.items()}


# Trees and nested resources are exported as JSON alone, and so are API responses that count seconds.
@pytest.mark.parametrize("name", sorted(set(FILES) - {"chatgpt", "otel", "dify"}))
def test_a_spreadsheet_of_the_same_rows_gives_the_same_events(tmp_path: Path, name: str) -> None:
    for file, rows in FILES[name].items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (tmp_path / file).with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
            sheet = csv.DictWriter(stream, columns, lineterminator="\n")
            sheet.writeheader()
            sheet.writerows(as_cells(row) for row in rows)
    result = ingest(EventsConfig(inputs=(str(tmp_path),)))
    expected = read(tmp_path / "json", FILES[name])
    assert result.rejects.is_empty()
    columns = ["event_id", "prompt", "completion", "vote", "user_id", "created_at"]
    assert result.events.select(columns).equals(expected.events.select(columns))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_read_as_a_stated_one_is_said_to_be(tmp_path: Path, name: str) -> None:
    files = {**FILES[name], "stray.jsonl": [{"nothing": 1}, {"of": "this"}]}
    result = read(tmp_path, files, format=name)
    assert result.events.equals(read(tmp_path, FILES[name]).events)
    of_file = result.rejects.filter(pl.col("reason") == "unknown_format")
    assert of_file.select("source_line", "reason", "detail").rows() == [
        (0, "unknown_format", f"no row is a vote or a text of format {name}")
    ]


THUMBS_LOGS: list[Row] = [
    {
        "id": "1",
        "conversation_id": "c",
        "query": "q",
        "answer": "a",
        "rating": "up",
        "user_id": "u",
        "created_at": "2026-01-01",
    },
    {"id": "1", "trace_id": "t", "input": "q", "output": "a", "feedback": "up", "session_id": "s", "model": "m"},
    {"request_id": "r", "prompt": "q", "response": "a", "rating": "up", "value": 1, "comment": "", "name": "n"},
    {"message_id": "m", "conversation_id": "c", "question": "q", "reply": "a", "rating": "down", "content": "x"},
    {"id": "1", "session_id": "s", "input": "q", "output": "a", "environment": "live", "public": True, "vote": "up"},
    {"id": "1", "conversation_id": "c", "query": "q", "answer": "a", "app_id": "x", "inputs": {}, "rating": "down"},
    {"id": "1", "conversation_id": "c", "query": "q", "answer": "a", "app_id": "x", "feedback": "up"},
    {"run_id": "r", "span_id": "s", "prompt": "q", "completion": "a", "vote": "up", "score": 1, "source": "app"},
]


@pytest.mark.parametrize("row", THUMBS_LOGS)
def test_a_product_log_with_ids_of_traces_stays_one(tmp_path: Path, row: Row) -> None:
    assert votes(read(tmp_path, {"log.jsonl": [row]}))[0][:2] == ("q", "a")
    (path,) = write(tmp_path, {"log.jsonl": [row]})
    assert detect_format(Path(path)) == "thumbs_jsonl"


def test_a_list_inside_an_api_response_is_its_rows() -> None:
    rows = [{"id": "1"}, {"id": "2"}]
    assert sample_rows(Sample("x", [{"data": rows, "meta": {}}, {"id": "3", "data": rows}])) == [
        *rows,
        {"id": "3", "data": rows},
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_column_that_neither_votes_nor_texts_ask_for_is_named_with_its_rows(tmp_path: Path, name: str) -> None:
    files = {file: [row | {"aside": "x"} for row in rows] for file, rows in FILES[name].items()}
    result = read(tmp_path, files)
    unread = result.notes["remarks"][UNREAD]
    assert unread["aside"] == sum(map(len, files.values()))
    assert not {"id", "messages", "input", "output", "inputs", "outputs", "query", "answer"} & unread.keys()
