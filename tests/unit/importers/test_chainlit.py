"""Chainlit: embedded threads and rows of its tables give the same votes, each with its thread so far as prompt."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import ingest


def step(name: str, kind: str, said: Any, minute: int, **fields: Any) -> Row:
    return {
        "id": name,
        "threadId": "th1",
        "parentId": None,
        "name": "bot",
        "type": kind,
        "input": "",
        "output": said,
        "createdAt": f"2026-06-01T12:{minute:02}:00.000000Z",
    } | fields


STEPS: list[Row] = [
    step("s3", "assistant_message", "Rye has less gluten.", 3, parentId="run1"),
    step("s1", "user_message", "Rye or wheat?", 1),
    step("run1", "run", "", 2),
    step("tool1", "tool", "a table", 2, parentId="run1"),
    step("s4", "user_message", "Which rises more?", 4),
    step("s5", "assistant_message", "Wheat.", 5),
    step("t1", "user_message", "Salt?", 1, threadId="th2"),
    step("t2", "assistant_message", "Two per cent.", 2, threadId="th2", parentId="run2"),
    step("t3", "assistant_message", "Of the flour.", 3, threadId="th2", parentId="run2"),
]
THREADS: list[Row] = [
    {"id": "th1", "createdAt": "2026-06-01T12:00:00Z", "name": "Bread", "userIdentifier": "ann", "userId": "7"},
    {"id": "th2", "createdAt": "2026-06-01T12:00:00Z", "name": "Salt", "userIdentifier": None, "userId": None},
]
FEEDBACKS: list[Row] = [
    {"id": "f1", "forId": "s3", "threadId": "th1", "value": 1, "comment": None},
    {"id": "f2", "forId": "s5", "threadId": "th1", "value": 0, "comment": "no"},
]
FILES = {"feedbacks.jsonl": FEEDBACKS, "steps.jsonl": STEPS, "threads.jsonl": THREADS}


def embedded() -> list[Row]:
    given = {row["forId"]: row for row in FEEDBACKS}
    steps = [row | ({"feedback": given[row["id"]]} if row["id"] in given else {}) for row in STEPS]
    return [thread | {"steps": [row for row in steps if row["threadId"] == thread["id"]]} for thread in THREADS]


def test_rows_of_three_tables(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    first, second = result.events.sort("source_line").to_dicts()
    assert (first["prompt"], first["completion"], first["vote"]) == (
        [user("Rye or wheat?")],
        "Rye has less gluten.",
        "up",
    )
    assert second["prompt"] == [user("Rye or wheat?"), assistant("Rye has less gluten."), user("Which rises more?")]
    assert (second["completion"], second["vote"], second["conversation_id"]) == ("Wheat.", "down", "th1")
    assert {first["user_id"], second["user_id"]} == {pseudonym("ann", "thumbline")}
    assert first["created_at"] is None


def test_threads_with_embedded_steps_and_feedback_give_the_same(tmp_path: Path) -> None:
    places = ("source_file", "source_line", "deliveries")
    expected = read(tmp_path / "rows", FILES).events.drop(places)
    assert read(tmp_path / "threads", {"threads.json": embedded()}).events.drop(places).equals(expected)
    reversed_rows = {name: rows[::-1] for name, rows in FILES.items()}
    assert read(tmp_path / "reversed", reversed_rows).events.drop(places).equals(expected)


def test_csv_of_the_tables_and_the_other_layer(tmp_path: Path) -> None:
    pl.DataFrame(STEPS).write_csv(tmp_path / "steps.csv")
    other = [{"id": "f3", "stepId": "s3", "name": "user_feedback", "value": 1.0, "comment": "x"}]
    pl.DataFrame(other).write_csv(tmp_path / "Feedback.csv")
    pl.DataFrame(FEEDBACKS[1:]).write_csv(tmp_path / "feedbacks.csv")
    assert votes(ingest(EventsConfig(inputs=(str(tmp_path),)))) == [
        ("Rye or wheat?", "Rye has less gluten.", "up"),
        ("Which rises more?", "Wheat.", "down"),
    ]


def test_feedback_on_a_run_is_on_its_only_message(tmp_path: Path) -> None:
    rows = [FEEDBACKS[0] | {"forId": "run1"}, FEEDBACKS[0] | {"forId": "run2"}]
    result = read(tmp_path, FILES | {"feedbacks.jsonl": rows})
    assert votes(result) == [("Rye or wheat?", "Rye has less gluten.", "up")]
    assert reasons(result) == [(2, "several_answers")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"value": -1}, "unknown_label"),
        ({"value": 2}, "unknown_label"),
        ({"value": 0.5}, "unknown_label"),
        ({"value": "meh"}, "unknown_label"),
        ({"forId": "gone"}, "no_trace"),
        ({"forId": "s1"}, "not_an_answer"),
        ({"forId": None}, "missing_field"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, fields: Row, reason: str) -> None:
    result = read(tmp_path, FILES | {"feedbacks.jsonl": [FEEDBACKS[0], FEEDBACKS[1] | fields]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    if reason == "unknown_label":
        assert repr(fields["value"]) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"createdAt": None}, "bad_time"), ({"output": ""}, "no_text"), ({"output": 7}, "wrong_type")],
)
def test_a_thread_with_a_message_that_cannot_be_read_has_no_prompts(tmp_path: Path, fields: Row, reason: str) -> None:
    steps = [row | fields if row["id"] == "s1" else row for row in STEPS]
    assert reasons(read(tmp_path, FILES | {"steps.jsonl": steps})) == [(1, reason), (2, reason)]


def test_a_value_of_null_is_unrated(tmp_path: Path) -> None:
    result = read(tmp_path, FILES | {"feedbacks.jsonl": [FEEDBACKS[0] | {"value": None}]})
    assert result.events["vote"].to_list() == ["unrated"]
