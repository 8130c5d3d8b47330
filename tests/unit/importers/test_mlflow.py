"""MLflow: people's valid assessments find their traces, and what another assessment overrides is no vote."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.ingest.event_ids import pseudonym


def assessment(number: int, value: Any, **fields: Any) -> Row:
    return {
        "assessment_id": f"a{number}",
        "assessment_name": "user_feedback",
        "trace_id": "tr-1",
        "span_id": None,
        "source": {"source_type": "HUMAN", "source_id": "ann"},
        "create_time": "2026-08-01T00:00:00Z",
        "last_update_time": "2026-08-02T00:00:00Z",
        "feedback": {"value": value, "error": None},
        "rationale": "words",
        "metadata": {},
        "overrides": None,
        "valid": True,
    } | fields


def trace(name: str, request: Any, response: Any, **info: Any) -> Row:
    return {
        "info": {
            "trace_id": name,
            "request_preview": "cut",
            "response_preview": "cut",
            "trace_metadata": {"mlflow.trace.session": "s1", "mlflow.trace.user": "bob"},
        }
        | info,
        "data": {"spans": [], "request": request, "response": response},
    }


SPAN: Row = {
    "span_id": "sp1",
    "parent_span_id": None,
    "attributes": {
        "mlflow.spanInputs": json.dumps({"question": "Is soot soft?"}),
        "mlflow.spanOutputs": json.dumps("Quite."),
    },
}
TRACES: list[Row] = [
    trace(
        "tr-1",
        json.dumps({"messages": [user("Is talc soft?")]}),
        json.dumps({"choices": [{"message": assistant("Yes.")}]}),
    ),
    trace(
        "tr-2",
        json.dumps("Is quartz soft?"),
        json.dumps("No."),
        assessments=[assessment(9, "thumbs_down", trace_id="tr-2")],
    ),
    {"info": {"trace_id": "tr-3", "state": "OK"}, "data": {"spans": [SPAN]}},
]
ASSESSMENTS: list[Row] = [
    assessment(1, True),
    assessment(2, False, trace_id="tr-3"),
    assessment(3, False, trace_id="tr-3", span_id="sp1", source={"source_type": "HUMAN", "source_id": None}),
]
FILES = {"assessments.jsonl": ASSESSMENTS, "traces.jsonl": TRACES}


def test_assessments_in_traces_and_beside_them(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("Is talc soft?", "Yes.", "up"),
        ("Is soot soft?", "Quite.", "down"),
        ("Is soot soft?", "Quite.", "down"),
        ("Is quartz soft?", "No.", "down"),
    ]
    first = result.events.sort("source_file", "source_line").to_dicts()[0]
    assert (first["user_id"], first["conversation_id"]) == (pseudonym("ann", "thumbline"), "s1")
    assert first["created_at"] == datetime(2026, 8, 2, tzinfo=UTC)


def test_rows_of_search_traces(tmp_path: Path) -> None:
    row = {
        "trace_id": "tr-7",
        "request": {"question": "Flat?"},
        "response": {"answer": "Round."},
        "request_time": 1,
        "assessments": [assessment(1, True, trace_id="tr-7")],
    }
    assert votes(read(tmp_path, {"traces.jsonl": [row]})) == [("Flat?", "Round.", "up")]


def test_what_is_overridden_or_invalid_is_no_vote(tmp_path: Path) -> None:
    rows = [
        assessment(1, True),
        assessment(2, False, overrides="a1"),
        assessment(3, True, valid=False),
        assessment(4, True, overrides="a9"),
    ]
    result = read(tmp_path, FILES | {"assessments.jsonl": rows})
    assert votes(result) == [("Is talc soft?", "Yes.", "down"), ("Is talc soft?", "Yes.", "up")]
    assert result.rejects.sort("source_file", "source_line").select("source_line", "reason").rows() == [
        (1, "overridden"),
        (3, "invalidated"),
        (2, "overridden"),
    ]


@pytest.mark.parametrize(
    ("fields", "reason", "shown"),
    [
        ({"feedback": {"value": "maybe"}}, "unknown_label", "'maybe'"),
        ({"feedback": {"value": 1}}, "unknown_label", "1; state what it means in events.options: up:"),
        ({"feedback": {"value": None, "error": {"error_code": "X"}}}, "evaluation_failed", "error"),
        ({"feedback": None, "expectation": {"value": "x"}}, "not_a_vote", "no feedback"),
        ({"source": {"source_type": "LLM_JUDGE"}}, "not_human", "'LLM_JUDGE'"),
        ({"source": {"source_type": "CODE"}}, "not_human", "'CODE'"),
        ({"assessment_name": "safety"}, "other_feedback", "'safety'"),
        ({"trace_id": "tr-0"}, "no_trace", "in none of the inputs"),
        ({"span_id": "sp0"}, "no_trace", "in none of the inputs"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, fields: Row, reason: str, shown: str) -> None:
    files = {"assessments.jsonl": [ASSESSMENTS[0], assessment(2, True, **fields)], "traces.jsonl": TRACES[:1]}
    result = read(tmp_path, files)
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_options_take_judges_names_and_labels(tmp_path: Path) -> None:
    rows = [assessment(1, "yes", assessment_name="helpful", source={"source_type": "LLM_JUDGE", "source_id": "judge"})]
    options = {"annotators": "all", "name": "helpful", "up": "yes", "down": "no"}
    result = read(tmp_path, {"assessments.jsonl": rows, "traces.jsonl": TRACES[:1]}, options=options)
    assert result.events["vote"].to_list() == ["up"]


def test_a_preview_is_never_the_text(tmp_path: Path) -> None:
    result = read(tmp_path, {"assessments.jsonl": ASSESSMENTS[:1], "traces.jsonl": [trace("tr-1", None, None)]})
    assert reasons(result) == [(1, "missing_field")]
