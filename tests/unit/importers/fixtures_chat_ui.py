"""Conversations of chat-ui: one whose messages branch, one from before branches."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import write_lines

FORMAT = "chat_ui"


def message(
    message_id: str, sender: str, content: str, ancestors: list[str] | None = None, **other: Any
) -> dict[str, Any]:
    return {
        "id": message_id,
        "from": sender,
        "content": content,
        "ancestors": ancestors,
        "children": [],
        "createdAt": {"$date": "2026-03-01T12:00:00Z"},
        **other,
    }


def conversation(*messages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "_id": {"$oid": "65f0c0ffee"},
        "userId": {"$oid": "65f0aaaaaa"},
        "model": "m-a",
        "title": "Moon",
        "rootMessageId": "s1",
        "messages": list(messages),
        **changes,
    }


def branching(score: object = 1) -> dict[str, Any]:
    return conversation(
        message("s1", "system", "", []),
        message("u1", "user", "How far is the moon?", ["s1"]),
        message("a1", "assistant", "Far.", ["s1", "u1"], score=-1),
        message("a2", "assistant", "384,400 km.", ["s1", "u1"], score=score),
        message("u2", "user", "And Mars?", ["s1", "u1", "a2"]),
        message("a3", "assistant", "It varies.", ["s1", "u1", "a2", "u2"]),
    )


def linear() -> dict[str, Any]:
    return conversation(
        message("u1", "user", "Hi"),
        message("a1", "assistant", "Hello.", score=0),
        message("u2", "user", "Who are you?"),
        message("a2", "assistant", "A bot.", score=1),
        preprompt="Be brief.",
        _id="old",
    )


def write(folder: Path) -> Path:
    return write_lines(folder / "conversations.jsonl", branching(), linear())
