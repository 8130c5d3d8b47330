"""OpenTelemetry: evaluation events find the response or span that they are about, in exporters' JSON and OTLP's."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, read, reasons, user, votes
from tests.unit.importers.logs import message


def said(role: str, content: str) -> Row:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


SPANS: list[Row] = [
    {
        "name": "chat tiny",
        "context": {"trace_id": "0xt1", "span_id": "0xBB01"},
        "kind": "SpanKind.CLIENT",
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.response.model": "tiny",
            "gen_ai.response.id": "resp-1",
            "gen_ai.conversation.id": "c1",
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Rhyme."}]),
            "gen_ai.input.messages": json.dumps([said("user", "A word for cat?")]),
            "gen_ai.output.messages": json.dumps([said("assistant", "Hat.") | {"finish_reason": "stop"}]),
        },
    },
    {
        "name": "chat tiny",
        "context": {"trace_id": "0xt2", "span_id": "0xbb02"},
        "attributes": {
            "gen_ai.input.messages": [
                said("user", "Weather?"),
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "x", "name": "look", "arguments": {}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "x", "response": "rain"}]},
            ],
            "gen_ai.output.messages": [said("assistant", "Wet.")],
        },
        "events": [
            {
                "name": "gen_ai.evaluation.result",
                "timestamp": "2026-07-01T10:00:00.000000Z",
                "attributes": {
                    "gen_ai.evaluation.name": "user_feedback",
                    "gen_ai.evaluation.score.label": "thumbs_down",
                },
            },
            {"name": "exception", "attributes": {}},
        ],
    },
    {"context": {"span_id": "0xbb03"}, "attributes": {"gen_ai.operation.name": "chat"}},
]


def record(**known: Any) -> Row:
    attributes = {
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.evaluation.score.label": "thumbs_up",
        "user.id": "ann",
    }
    return {
        "event_name": "gen_ai.evaluation.result",
        "timestamp": "2026-07-01T11:00:00Z",
        "trace_id": "0xt9",
        "span_id": "0x0009",
        "attributes": attributes | {"gen_ai.response.id": "resp-1"} | known,
    }


FILES = {"evaluations.jsonl": [record()], "spans.jsonl": SPANS}


CALLED = '{"tool_calls":[{"type":"function","id":"x","function":{"name":"look","arguments":{}}}]}'


def test_a_record_by_its_response_and_an_event_in_its_span(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [("A word for cat?", "Hat.", "up"), ("rain", "Wet.", "down")]
    first, second = result.events.sort("source_file").to_dicts()
    assert first["prompt"] == [message("system", "Rhyme."), user("A word for cat?")]
    assert (first["model"], first["conversation_id"]) == ("tiny", "c1")
    assert first["created_at"] == datetime(2026, 7, 1, 11, tzinfo=UTC)
    assert second["prompt"] == [
        user("Weather?"),
        message("assistant", "", CALLED),
        message("tool", "rain", '{"tool_call_id":"x"}'),
    ]


def typed(value: Any) -> Row:
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(entry) for entry in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": name, "value": typed(child)} for name, child in value.items()]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def otlp(attributes: Row) -> list[Row]:
    return [{"key": name, "value": typed(value)} for name, value in attributes.items()]


def test_otlp_json_gives_the_same(tmp_path: Path) -> None:
    spans = [
        {"traceId": "t", "spanId": row["context"]["span_id"][2:].lower(), "attributes": otlp(row["attributes"])}
        for row in SPANS[:2]
    ]
    event = record()
    logs = [
        {
            "eventName": event["event_name"],
            "timeUnixNano": "1782903600000000000",
            "spanId": "bb02",
            "attributes": otlp(event["attributes"] | {"gen_ai.response.id": "unheard of"}),
        }
    ]
    files = {
        "traces.jsonl": [{"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}],
        "logs.jsonl": [{"resourceLogs": [{"scopeLogs": [{"logRecords": logs}]}]}],
    }
    result = read(tmp_path, files)
    assert votes(result) == [("rain", "Wet.", "up")]
    assert result.events["created_at"].to_list() == [datetime(2026, 7, 1, 11, tzinfo=UTC)]


def test_messages_in_a_details_event_stand_for_the_spans(tmp_path: Path) -> None:
    details = {
        "event_name": "gen_ai.client.inference.operation.details",
        "span_id": "0xbb03",
        "attributes": {
            "gen_ai.input.messages": [said("user", "Apart?")],
            "gen_ai.output.messages": [said("assistant", "Yes.")],
        },
    }
    event = record() | {"span_id": "0xbb03"}
    del event["attributes"]["gen_ai.response.id"]
    result = read(tmp_path, FILES | {"evaluations.jsonl": [details, event]})
    assert votes(result)[0] == ("Apart?", "Yes.", "up")


LABEL = "gen_ai.evaluation.score.label"


@pytest.mark.parametrize(
    ("known", "reason", "shown"),
    [
        ({LABEL: "relevant"}, "unknown_label", "'relevant'"),
        ({LABEL: None, "gen_ai.evaluation.score.value": 1.0}, "unknown_label", "1.0"),
        ({"gen_ai.evaluation.name": "relevance"}, "other_feedback", "'relevance'"),
        ({"error.type": "timeout"}, "evaluation_failed", "'timeout'"),
        ({"gen_ai.response.id": "gone"}, "no_trace", "in none of the inputs"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, known: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, FILES | {"evaluations.jsonl": [record(**known)]})
    assert len(votes(result)) == 1
    assert reasons(result) == [(1, reason)]
    assert shown in result.rejects["detail"][0]


def test_a_stated_score_and_several_choices(tmp_path: Path) -> None:
    event = record(**{LABEL: None, "gen_ai.evaluation.score.value": 1.0})
    assert votes(read(tmp_path, FILES | {"evaluations.jsonl": [event]}, options={"up": "1"}))[0][2] == "up"
    two = SPANS[0] | {"attributes": SPANS[0]["attributes"] | {"gen_ai.output.messages": [said("assistant", "a")] * 2}}
    result = read(tmp_path, FILES | {"spans.jsonl": [two]})
    assert reasons(result) == [(1, "several_messages")]
