"""Helicone: ratings in the requests themselves, or in a log of feedback calls beside them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from tests.unit.importers.logs import message
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import ingest


def request(name: str, asked: Any, answered: Any, rating: Any = None) -> Row:
    return {
        "request_id": name,
        "request_created_at": "2026-01-05T10:00:00Z",
        "request_body": {"model": "tiny", **asked},
        "response_body": answered,
        "request_user_id": "ann",
        "request_properties": {"Helicone-Session-Id": "s1"},
        "request_model": "tiny",
        "feedback_id": None if rating is None else f"fb-{name}",
        "feedback_created_at": None if rating is None else "2026-01-05T10:01:00Z",
        "feedback_rating": rating,
    }


REQUESTS: list[Row] = [
    request("r1", {"messages": [user("Is jade green?")]}, {"choices": [{"message": assistant("Often.")}]}, True),
    request(
        "r2",
        {"system": "Be kind.", "messages": [user("Is coal white?")]},
        {"role": "assistant", "content": [{"type": "text", "text": "No."}], "type": "message"},
        False,
    ),
    request(
        "r3",
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Is salt sweet?"}]}]},
        {
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Salty."}]},
            ]
        },
    ),
]
CALLS: list[Row] = [{"requestId": "r3", "rating": True}]
FILES = {"requests.jsonl": REQUESTS, "ratings.jsonl": CALLS}


def test_ratings_in_requests_and_beside_them(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert sorted(votes(result)) == [
        ("Is coal white?", "No.", "down"),
        ("Is jade green?", "Often.", "up"),
        ("Is salt sweet?", "Salty.", "up"),
    ]
    first, second = result.events.sort("source_file", "source_line").tail(2).to_dicts()
    assert first["created_at"] == datetime(2026, 1, 5, 10, 1, tzinfo=UTC)
    assert (first["model"], first["conversation_id"], first["user_id"]) == ("tiny", "s1", pseudonym("ann", "thumbline"))
    assert second["prompt"] == [message("system", "Be kind."), user("Is coal white?")]


def test_csv_with_bodies_as_json_texts(tmp_path: Path) -> None:
    rows = [
        {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}
        for row in REQUESTS
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "requests.csv")
    result = ingest(EventsConfig(inputs=(str(tmp_path / "requests.csv"),)))
    assert votes(result) == [("Is jade green?", "Often.", "up"), ("Is coal white?", "No.", "down")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"requestId": "r2", "rating": 1}, "unknown_label"),
        ({"requestId": "r2", "rating": "fine"}, "unknown_label"),
        ({"requestId": "gone", "rating": True}, "no_trace"),
        ({"requestId": None, "rating": True}, "missing_field"),
        ({"requestId": True, "rating": True}, "wrong_type"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, row: Row, reason: str) -> None:
    result = read(tmp_path, {"requests.jsonl": REQUESTS[2:], "ratings.jsonl": [CALLS[0], row]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    if reason == "unknown_label":
        assert repr(row["rating"]) in result.rejects["detail"][0]


def test_several_choices_and_a_body_of_another_shape(tmp_path: Path) -> None:
    two = REQUESTS[0] | {"response_body": {"choices": [{"message": assistant("a")}, {"message": assistant("b")}]}}
    other = REQUESTS[1] | {"request_body": {"model": 7, "temperature": 0.5}}
    result = read(tmp_path, {"requests.jsonl": [two, other]})
    assert reasons(result) == [(1, "several_messages"), (2, "unknown_shape")]
    assert "has the keys model, temperature; state the text's with the option `prompt`" in result.rejects["detail"][1]


def test_choices_of_plain_completions(tmp_path: Path) -> None:
    plain = request("r1", {"prompt": "One plus one is"}, {"choices": [{"text": "two", "index": 0}]}, True)
    assert votes(read(tmp_path, {"requests.jsonl": [plain]})) == [("One plus one is", "two", "up")]
