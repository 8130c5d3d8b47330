"""A conversation of LibreChat with a regenerated answer, exported flat and as a tree."""

import json
from pathlib import Path
from typing import Any

FORMAT = "librechat"
NO_PARENT = "00000000-0000-0000-0000-000000000000"


def message(message_id: str, parent: str, text: str, **changes: Any) -> dict[str, Any]:
    return {
        "messageId": message_id,
        "parentMessageId": parent,
        "conversationId": "c1",
        "sender": "User" if message_id.startswith("u") else "Assistant",
        "isCreatedByUser": message_id.startswith("u"),
        "text": text,
        "model": None if message_id.startswith("u") else "m-a",
        "createdAt": "2026-03-01T12:00:00.000Z",
        **changes,
    }


def messages() -> list[dict[str, Any]]:
    """Two answers to the first message, one to the second."""
    up = {"rating": "thumbsUp", "tag": "accurate_reliable", "text": "good"}
    down = {"rating": "thumbsDown", "tag": {"key": "our_own_tag"}}
    return [
        message("u1", NO_PARENT, "How far is the moon?"),
        message("a1", "u1", "Far.", feedback=down),
        message("a2", "u1", "384,400 km.", feedback=up),
        message("u2", "a2", "And Mars?"),
        message("a3", "u2", "", content=[{"type": "think", "think": "Hm"}, {"type": "text", "text": "It varies."}]),
    ]


def conversation(found: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    found = messages() if found is None else found
    return {
        "conversationId": "c1",
        "endpoint": "openAI",
        "title": "Moon",
        "exportAt": "12:00",
        "messages": found,
        **changes,
    }


def tree() -> dict[str, Any]:
    u1, a1, a2, u2, a3 = messages()
    nested = u1 | {"children": [a1 | {"children": []}, a2 | {"children": [u2 | {"children": [a3]}]}]}
    return {"conversationId": "c1", "endpoint": "openAI", "recursive": True, "messagesTree": [nested]}


def write(folder: Path) -> Path:
    path = folder / "conversation.json"
    path.write_text(json.dumps(conversation()), encoding="utf-8")
    return path
