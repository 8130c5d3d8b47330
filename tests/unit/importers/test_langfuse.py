"""Langfuse: scores find their traces in whatever file these lie, and only known labels of named feedback are votes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes, write
from tests.unit.importers.logs import message
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import ingest, input_digests

TRACES: list[Row] = [
    {
        "id": "t1",
        "timestamp": "2026-05-04T10:00:00.000Z",
        "name": "chat",
        "input": {"messages": [{"role": "system", "content": "Be brief."}, user("Which bee makes honey?")]},
        "output": {"role": "assistant", "content": "The worker bee."},
        "sessionId": "s1",
        "userId": "ann",
        "environment": "production",
        "tags": [],
        "public": False,
    },
    {
        "id": "t2",
        "input": "How many legs has a crab?",
        "output": "Ten.",
        "sessionId": None,
        "userId": "bob",
        "environment": "production",
        "public": False,
    },
]
OBSERVATIONS: list[Row] = [
    {
        "id": "o1",
        "traceId": "t1",
        "parentObservationId": "root",
        "type": "GENERATION",
        "model": "small-1",
        "input": [user([{"type": "text", "text": "Which bee"}, {"type": "text", "text": "makes honey?"}])],  # type: ignore[arg-type]
        "output": {"choices": [{"message": assistant("A worker.")}]},
    },
    {
        "id": "o2",
        "traceId": "t9",
        "parentObservationId": None,
        "type": "SPAN",
        "input": "Is ice lighter than water?",
        "output": "Yes.",
    },
]


def score(number: int, **fields: Any) -> Row:
    return {
        "id": f"sc{number}",
        "traceId": "t1",
        "observationId": None,
        "name": "user-feedback",
        "source": "API",
        "timestamp": "2026-05-04T10:05:00.000Z",
        "authorUserId": None,
        "value": 1,
        "dataType": "BOOLEAN",
        "stringValue": "True",
        "comment": "not shown",
    } | fields


SCORES: list[Row] = [
    score(1),
    score(2, traceId="t2", value=0, stringValue="False", authorUserId="eve", source="ANNOTATION"),
    score(3, observationId="o1", dataType="CATEGORICAL", value=None, stringValue="thumbs_down"),
    score(4, traceId="t9"),
]
FILES = {"scores.jsonl": SCORES, "traces.jsonl": TRACES, "observations.jsonl": OBSERVATIONS}


def test_scores_traces_and_observations_in_three_files(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("Which bee makes honey?", "The worker bee.", "up"),
        ("How many legs has a crab?", "Ten.", "down"),
        ("Which bee\nmakes honey?", "A worker.", "down"),
        ("Is ice lighter than water?", "Yes.", "up"),
    ]
    first, second, third, _ = result.events.sort("source_line").to_dicts()
    assert first["prompt"] == [message("system", "Be brief."), user("Which bee makes honey?")]
    assert first["created_at"] == datetime(2026, 5, 4, 10, 5, tzinfo=UTC)
    assert (first["conversation_id"], first["user_id"]) == ("s1", pseudonym("ann", "thumbline"))
    assert second["user_id"] == pseudonym("eve", "thumbline")
    assert third["model"] == "small-1"
    assert {Path(name).name for name in result.events["source_file"]} == {"scores.jsonl"}
    assert result.notes["records"] == 8


def test_one_mixed_file_and_embedded_scores_give_the_same_votes(tmp_path: Path) -> None:
    expected = votes(read(tmp_path / "three", FILES))
    assert votes(read(tmp_path / "one", {"all.jsonl": [*SCORES, *TRACES, *OBSERVATIONS]})) == expected
    embedded = [TRACES[0] | {"scores": [SCORES[0]], "observations": OBSERVATIONS[:1]}, TRACES[1] | {"scores": ["sc2"]}]
    assert votes(read(tmp_path / "embedded", {"traces.json": embedded})) == expected[:1]


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    assert len(votes(ingest(EventsConfig(inputs=(str(tmp_path),))))) == 4


def test_the_api_of_version_three_and_the_blob_export(tmp_path: Path) -> None:
    subject: Row = {"kind": "observation", "id": "o1", "traceId": "t1"}
    new = {"id": "a", "name": "user-feedback", "source": "API", "dataType": "BOOLEAN", "value": False}
    api = {"data": [new | {"subject": subject}, new | {"subject": {"kind": "session", "id": "s1"}}], "meta": {}}
    blob = {"id": "b", "trace_id": "t2", "observation_id": None, "name": "user-feedback", "source": "API"}
    blob |= {"data_type": "BOOLEAN", "value": 1.0, "string_value": "True", "author_user_id": "x"}
    result = read(tmp_path, FILES | {"scores.jsonl": [api], "blob.jsonl": [blob]})
    assert votes(result) == [
        ("How many legs has a crab?", "Ten.", "up"),
        ("Which bee\nmakes honey?", "A worker.", "down"),
    ]
    assert reasons(result) == [(1, "not_an_answer")]


def test_csv_of_the_interface(tmp_path: Path) -> None:
    columns = ["id", "traceId", "observationId", "name", "source", "dataType", "value", "stringValue", "timestamp"]
    pl.DataFrame([{name: row[name] for name in columns} for row in SCORES[:2]]).write_csv(tmp_path / "scores.csv")
    traces = [
        {"id": "t1", "input": '{"messages": [{"role": "user", "content": "Hm?"}]}', "output": "Ha."},
        {"id": "t2", "input": '{"my own": "json"} is what?', "output": "A text."},
    ]
    pl.DataFrame([row | {"sessionId": "s", "environment": "e"} for row in traces]).write_csv(tmp_path / "traces.csv")
    result = ingest(EventsConfig(inputs=(str(tmp_path),)))
    assert votes(result) == [("Hm?", "Ha.", "up"), ('{"my own": "json"} is what?', "A text.", "down")]


@pytest.mark.parametrize(
    ("fields", "reason", "shown"),
    [
        ({"dataType": "CATEGORICAL", "stringValue": "meh", "value": None}, "unknown_label", "'meh'"),
        (
            {"dataType": "NUMERIC", "value": 1, "stringValue": None},
            "unknown_label",
            "state what it means in events.options",
        ),
        ({"value": 0.5, "stringValue": None}, "unknown_label", "0.5"),
        ({"value": 0, "stringValue": "True"}, "contradiction", "stringValue"),
        ({"dataType": "TEXT", "value": None, "stringValue": "nice"}, "not_a_vote", "'TEXT'"),
        ({"name": "toxicity"}, "other_feedback", "'toxicity'"),
        ({"source": "EVAL"}, "not_human", "'EVAL'"),
        ({"traceId": "t0"}, "no_trace", "in none of the inputs"),
        ({"traceId": None}, "not_an_answer", "neither"),
        ({"traceId": 1.5}, "wrong_type", "traceId"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, fields: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, FILES | {"scores.jsonl": [score(1), score(2, **fields)]})
    assert len(votes(result)) == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_options_take_what_was_rejected(tmp_path: Path) -> None:
    files = FILES | {
        "scores.jsonl": [score(1, name="stars", dataType="NUMERIC", value=5, stringValue=None), score(2, source="EVAL")]
    }
    result = read(tmp_path, files, options={"name": "stars, user-feedback", "up": "5", "annotators": "all"})
    assert [vote for _, _, vote in votes(result)] == ["up", "up"]
    files = FILES | {"traces.jsonl": [TRACES[0] | {"input": {"a": {"b": "Deep?"}, "c": "x", "d": "y"}}]}
    assert reasons(read(tmp_path, files))[0] == (1, "unknown_shape")
    assert votes(read(tmp_path, files, options={"prompt": "a.b"}))[0][0] == "Deep?"


def test_a_correction_is_an_edit_of_the_answer(tmp_path: Path) -> None:
    fields: Row = {"dataType": "CORRECTION", "name": "output", "value": None, "authorUserId": "eve"}
    rows = [score(1, **fields, stringValue="Only the worker bee."), score(2, **fields, stringValue=" The worker bee. ")]
    result = read(tmp_path, FILES | {"scores.jsonl": rows})
    assert votes(result) == [
        ("Which bee makes honey?", "Only the worker bee.", "chosen"),
        ("Which bee makes honey?", "The worker bee.", "rejected"),
    ]
    assert result.events["comparison_kind"].to_list() == ["edit", "edit"]
    assert result.events["comparison_id"].n_unique() == 1
    assert reasons(result) == [(2, "same_answer")]


def test_a_trace_without_text_costs_only_the_votes_on_it(tmp_path: Path) -> None:
    traces = [TRACES[0] | {"output": None}, TRACES[1] | {"input": 7}, TRACES[1] | {"id": "t3", "output": None}]
    result = read(tmp_path, FILES | {"traces.jsonl": traces})
    assert reasons(result) == [(1, "missing_field"), (2, "wrong_type")]


def test_two_different_texts_of_one_id_are_nobodys_guess(tmp_path: Path) -> None:
    other = TRACES[0] | {"output": "The queen."}
    assert reasons(read(tmp_path, FILES | {"more.jsonl": [other]})) == [(1, "two_texts")]
    assert reasons(read(tmp_path, FILES | {"more.jsonl": [TRACES[0]]})) == []


def test_the_order_of_files_and_rows_changes_nothing(tmp_path: Path) -> None:
    first = read(tmp_path / "a", FILES).events.drop("source_file", "source_line")
    turned = {name: rows[::-1] for name, rows in reversed(FILES.items())}
    assert read(tmp_path / "b", turned).events.drop("source_file", "source_line").equals(first)


def test_a_changed_file_of_traces_changes_the_input_digests(tmp_path: Path) -> None:
    config = EventsConfig(inputs=tuple(write(tmp_path, FILES)))
    before = input_digests(config)
    write(tmp_path, {"traces.jsonl": TRACES[:1]})
    after = input_digests(config)
    assert [Path(name).name for name in before if before[name] != after[name]] == ["traces.jsonl"]


def test_a_broken_line_among_the_traces_is_rejected_where_it_stands(tmp_path: Path) -> None:
    inputs = write(tmp_path, FILES)
    with Path(inputs[1]).open("a", encoding="utf-8") as stream:
        stream.write("{broken\n")
    result = ingest(EventsConfig(inputs=tuple(inputs)))
    assert [Path(name).name for name in result.rejects["source_file"]] == ["traces.jsonl"]
    assert reasons(result) == [(3, "broken_json")]
