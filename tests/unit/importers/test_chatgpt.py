"""ChatGPT's export: three generations of feedback rows, and trees of messages of which an answer has one branch."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from tests.unit.importers.logs import message


def node(name: str, parent: str | None, role: str | None, *parts: Any, **fields: Any) -> Row:
    message = {
        "id": name,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1_770_000_000.5,
        "content": {"content_type": "text", "parts": list(parts)},
        "metadata": {"model_slug": "m-5"} if role == "assistant" else {},
    }
    return {"id": name, "parent": parent, "children": [], "message": None if role is None else message | fields}


def conversation(name: str, *nodes: Row) -> Row:
    return {
        "title": "A title",
        "create_time": 1_770_000_000.5,
        "conversation_id": name,
        "id": name,
        "current_node": nodes[-1]["id"],
        "mapping": {entry["id"]: entry for entry in nodes},
    }


HIDDEN: Row = {"metadata": {"is_visually_hidden_from_conversation": True}}
CONVERSATIONS = [
    conversation(
        "c1",
        node("root", None, None),
        node("sys", "root", "system", "You are hidden.", **HIDDEN),
        node("u1", "sys", "user", "Name a river."),
        node("a1", "u1", "assistant", "The Elbe."),
        node("a2", "u1", "assistant", "The Rhine."),
        node("u2", "a2", "user", "How long", "is it?"),
        node("th", "u2", "assistant", content={"content_type": "thoughts", "thoughts": []}),
        node("call", "th", "assistant", content={"content_type": "code", "text": "length('Rhine')"}),
        node("out", "call", "tool", content={"content_type": "execution_output", "text": "1233"}),
        node("a3", "out", "assistant", "About 1,230 km."),
    ),
    conversation("c2", node("c2r", None, None), node("q", "c2r", "user", "Hi"), node("r", "q", "assistant", "Hello!")),
    conversation(
        "c3",
        node("img", None, "user", {"content_type": "image_asset_pointer"}, "What is it?"),
        node("b", "img", "assistant", "A cat."),
    ),
]
TEXT = json.dumps({"text": "so good", "tags": ["correct"]})
OLD: Row = {"message_id": "a1", "conversation_id": "c1", "user_id": "u", "rating": "thumbsDown", "content": TEXT}
MIDDLE: Row = {
    "id": "a3",
    "conversation_id": "c1",
    "user_id": "u",
    "rating": "thumbsUp",
    "create_time": "2025-03-01T10:00:00+00:00",
    "workspace_id": None,
    "content": "{}",
}
NEW: Row = {
    "id": "not-a-message",
    "conversation_id": "c2",
    "user_id": "u",
    "rating": "thumbs_up",
    "create_time": "2026-03-01T10:00:00.123456Z",
    "update_time": "2026-03-02T10:00:00Z",
    "evaluation_name": None,
    "evaluation_treatment": None,
    "content": TEXT,
}
FILES = {"message_feedback.json": [OLD, MIDDLE, NEW], "conversations.json": CONVERSATIONS}


def test_three_generations_in_one_file(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    first, second, third = result.events.sort("source_line").to_dicts()
    assert (first["prompt"], first["completion"], first["vote"]) == ([user("Name a river.")], "The Elbe.", "down")
    assert second["prompt"] == [
        user("Name a river."),
        assistant("The Rhine."),
        user("How long\nis it?"),
        assistant("length('Rhine')"),
        message("tool", "1233"),
    ]
    assert (second["completion"], second["vote"]) == ("About 1,230 km.", "up")
    assert (third["prompt"], third["completion"], third["vote"]) == ([user("Hi")], "Hello!", "up")
    times = [event["created_at"] for event in (first, second, third)]
    assert times == [None, datetime(2025, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC)]
    assert [event["conversation_id"] for event in (first, second, third)] == ["c1", "c1", "c2"]
    assert {event["model"] for event in (first, second, third)} == {"m-5"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (NEW | {"conversation_id": "c1"}, "no_trace"),
        (OLD | {"message_id": "gone", "conversation_id": "c2"}, "no_trace"),
        (OLD | {"message_id": "u1"}, "not_an_answer"),
        (OLD | {"message_id": "b"}, "not_text"),
        (OLD | {"rating": "neutral"}, "unknown_label"),
        (OLD | {"rating": 1}, "unknown_label"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, row: Row, reason: str) -> None:
    result = read(tmp_path, FILES | {"message_feedback.json": [MIDDLE, row]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    if reason == "unknown_label":
        assert repr(row["rating"]) in result.rejects["detail"][0]


def test_a_vote_changed_later_is_two_events_in_order(tmp_path: Path) -> None:
    later = MIDDLE | {"rating": "thumbsDown", "create_time": "2025-03-01T11:00:00+00:00"}
    result = read(tmp_path, FILES | {"message_feedback.json": [later, MIDDLE]})
    assert result.events.sort("created_at")["vote"].to_list() == ["up", "down"]


def test_a_branch_whose_root_is_missing_or_that_bites_its_tail(tmp_path: Path) -> None:
    cut = conversation("c4", node("x", "lost", "user", "Where?"), node("y", "x", "assistant", "Here."))
    ring = conversation("c5", node("v", "w", "user", "Round?"), node("w", "v", "assistant", "Round."))
    rows = [OLD | {"message_id": "y"}, OLD | {"message_id": "w"}]
    result = read(tmp_path, {"message_feedback.json": rows, "conversations.json": [cut, ring]})
    assert reasons(result) == [(1, "broken_history"), (2, "broken_history")]


def test_feedback_alone_says_what_is_missing(tmp_path: Path) -> None:
    result = read(tmp_path, {"message_feedback.json": [OLD, MIDDLE]})
    assert reasons(result) == [(1, "no_trace"), (2, "no_trace")]


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, FILES).events.equals(read(tmp_path, dict(reversed(FILES.items()))).events)
    assert len(votes(read(tmp_path, FILES))) == 3
