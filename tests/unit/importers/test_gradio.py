"""Gradio's log.csv, whose header has a name more than its rows have values."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.importers.fixtures_gradio import HEADER, MESSAGES, ROWS, TIME, write, write_log
from tests.unit.importers.logs import assistant, read, reasons, user, votes

EXPECTED = [("384,400 km.", "up"), ('It "varies".', "down")]


def test_four_values_under_five_names(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == EXPECTED
    prompts = {event["completion"]: event["prompt"] for event in result.events.to_dicts()}
    assert prompts["384,400 km."] == [user("How far is the moon?")]
    assert prompts['It "varies".'] == [user("How far is the moon?"), assistant("384,400 km."), user("And\nMars?")]
    assert set(result.events["created_at"]) == {datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)}


def test_rows_of_five_values_and_a_header_of_four_names_give_the_same(tmp_path: Path) -> None:
    expected = read(write(tmp_path)).events
    assert read(write_log(tmp_path, [(*row[:3], "", row[3]) for row in ROWS])).events.equals(expected)
    header = tuple(name for name in HEADER if name != "flag")
    assert read(write_log(tmp_path, ROWS, header)).events.equals(expected)


def test_older_logs_hold_pairs_of_texts(tmp_path: Path) -> None:
    pairs = json.dumps([["Hi", "Hello."], ["Who?", "A bot."]])
    result = read(write_log(tmp_path, [(pairs, "[1, 1]", "Like", TIME)]))
    (event,) = result.events.to_dicts()
    assert (event["completion"], event["vote"]) == ("A bot.", "up")
    assert event["prompt"] == [user("Hi"), assistant("Hello."), user("Who?")]


@pytest.mark.parametrize("value", ["like", "Spam", "1", "True"])
def test_a_value_that_is_not_known_is_rejected(tmp_path: Path, value: str) -> None:
    result = read(write_log(tmp_path, [*ROWS, (json.dumps(MESSAGES), "1", value, TIME)]))
    assert reasons(result) == ["unknown_label"]
    assert repr(value) in result.rejects["detail"][0]
    assert votes(result) == EXPECTED


def test_an_empty_value_is_unrated(tmp_path: Path) -> None:
    assert votes(read(write_log(tmp_path, [(json.dumps(MESSAGES), "1", "", TIME)]))) == [("384,400 km.", "unrated")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("{broken", "1", "Like", TIME), "broken_json"),
        (('"text"', "1", "Like", TIME), "wrong_type"),
        (("", "1", "Like", TIME), "missing_field"),
        ((json.dumps(MESSAGES), "4", "Like", TIME), "missing_answer"),
        ((json.dumps(MESSAGES), "-1", "Like", TIME), "missing_answer"),
        ((json.dumps(MESSAGES), "1.5", "Like", TIME), "wrong_type"),
        ((json.dumps(MESSAGES), "true", "Like", TIME), "wrong_type"),
        ((json.dumps(MESSAGES), "0", "Like", TIME), "not_an_answer"),
        ((json.dumps([*MESSAGES, {"role": "robot", "content": ""}]), "4", "Like", TIME), "unknown_label"),
        (
            (json.dumps([user("Hi"), {"role": "assistant", "content": [{"path": "x.png"}]}]), "1", "Like", TIME),
            "not_text",
        ),
        ((json.dumps(MESSAGES), "1", "Like"), "wrong_column_count"),
    ],
)
def test_a_row_that_is_not_clear_is_rejected(tmp_path: Path, row: tuple[str, ...], reason: str) -> None:
    result = read(write_log(tmp_path, [*ROWS, row]))
    assert reasons(result) == [reason]
    assert votes(result) == EXPECTED


def test_any_other_header_of_five_names_keeps_its_count(tmp_path: Path) -> None:
    header = ("prompt", "completion", "feedback", "flag", "timestamp")
    result = read(write_log(tmp_path, [("p", "c", "up", "", TIME), ("p", "c", "up", TIME)], header))
    assert reasons(result) == ["wrong_column_count"]
