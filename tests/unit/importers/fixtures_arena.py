"""The arena's votes as they are released: conversations of content parts, and what came before in the session."""

from pathlib import Path
from typing import Any

from tests.unit.importers.fixtures_conversations import ASKED, BAD, GOOD
from tests.unit.importers.logs import write_lines

FORMAT = "arena"


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text, "image": None, "mimeType": None}]}


def turn(asked: str, first: str, second: str) -> dict[str, Any]:
    return {
        "user": said("user", asked),
        "model_side_a": said("assistant", first),
        "model_side_b": said("assistant", second),
    }


def vote(winner: object = "model_a", before: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    return {
        "id": "v1",
        "model_a": "m1",
        "model_b": "m2",
        "winner": winner,
        "evaluation_session_id": "s1",
        "evaluation_order": 1 + len(before),
        "conversation_a": [said("user", ASKED), said("assistant", GOOD)],
        "conversation_b": [said("user", ASKED), said("assistant", BAD)],
        "full_conversation": [*before, turn(ASKED, GOOD, BAD)],
        "language": "en",
        "timestamp": "2025-07-01T10:00:00",
        **changes,
    }


def write(folder: Path) -> Path:
    return write_lines(
        folder / "votes.jsonl",
        vote(),
        vote("both_bad", id="v2", evaluation_session_id="s2"),
        vote("tie", (turn("Hi", "Hello.", "Hello."),), id="v3", evaluation_session_id="s3"),
        vote("model_b", (turn("Hi", "Hello.", "Hey."),), id="v4", evaluation_session_id="s4"),
    )
