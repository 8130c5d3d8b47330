"""Weave: thumbs find their calls by reference; other emoji and other feedback are no votes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.ingest.event_ids import pseudonym


def call(name: str, inputs: Any, output: Any) -> Row:
    return {
        "id": name,
        "project_id": "team/bot",
        "op_name": f"weave:///team/bot/op/answer:{name}",
        "trace_id": "t",
        "started_at": "2026-03-03T00:00:00Z",
        "inputs": inputs,
        "output": output,
    }


CALLS: list[Row] = [
    call(
        "c1", {"model": "tiny", "messages": [user("Fastest bird?")]}, {"choices": [{"message": assistant("A falcon.")}]}
    ),
    call("c2", {"self": "weave:///team/bot/object/Bot:1", "question": "Slowest bird?"}, "A woodcock."),
]


def reaction(number: int, name: str, emoji: Any, **fields: Any) -> Row:
    return {
        "id": f"w{number}",
        "project_id": "team/bot",
        "weave_ref": f"weave:///team/bot/call/{name}",
        "call_ref": None,
        "creator": "ann",
        "wb_user_id": "u1",
        "feedback_type": "wandb.reaction.1",
        "payload": {"emoji": emoji, "alias": "x", "detoned": emoji},
        "created_at": "2026-03-04T00:00:00Z",
    } | fields


REACTIONS: list[Row] = [reaction(1, "c1", "👍🏽"), reaction(2, "c2", "👎\ufe0f", wb_user_id=None)]
FILES = {"feedback.jsonl": REACTIONS, "calls.jsonl": CALLS}


def test_reactions_and_calls(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [("Fastest bird?", "A falcon.", "up"), ("Slowest bird?", "A woodcock.", "down")]
    first, second = result.events.sort("source_line").to_dicts()
    assert (first["model"], first["created_at"]) == ("tiny", datetime(2026, 3, 4, tzinfo=UTC))
    assert [row["user_id"] for row in (first, second)] == [pseudonym("u1", "thumbline"), pseudonym("ann", "thumbline")]


def test_feedback_inside_the_calls_gives_the_same(tmp_path: Path) -> None:
    expected = votes(read(tmp_path / "two", FILES))
    inside = [call | {"summary": {"weave": {"feedback": [REACTIONS[place]]}}} for place, call in enumerate(CALLS)]
    assert votes(read(tmp_path / "one", {"calls.json": inside})) == expected


@pytest.mark.parametrize(
    ("row", "reason", "shown"),
    [
        (reaction(2, "c2", "🎉"), "unknown_label", "'🎉'"),
        (reaction(2, "c2", None), "missing_field", "emoji"),
        (
            reaction(2, "c2", "👍", feedback_type="wandb.note.1", payload={"note": "hm"}),
            "other_feedback",
            "'wandb.note.1'",
        ),
        (reaction(2, "c2", "👍", feedback_type="wandb.runnable.scorer"), "other_feedback", "'wandb.runnable.scorer'"),
        (reaction(2, "gone", "👍"), "no_trace", "in none of the inputs"),
        (reaction(2, "c2", "👍", weave_ref="weave:///team/bot/object/x:1"), "not_an_answer", "not about a call"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, row: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, FILES | {"feedback.jsonl": [REACTIONS[0], row]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_an_emoji_that_the_options_state(tmp_path: Path) -> None:
    files = FILES | {"feedback.jsonl": [reaction(1, "c1", "🎉")]}
    assert read(tmp_path, files, options={"up": "🎉"}).events["vote"].to_list() == ["up"]


def test_a_call_without_text_costs_the_votes_on_it(tmp_path: Path) -> None:
    result = read(tmp_path, FILES | {"calls.jsonl": [CALLS[0], CALLS[1] | {"output": None}]})
    assert reasons(result) == [(2, "missing_field")]
