"""A feedback export of Open WebUI with an arena rating and a plain one, and an export of all chats with ratings."""

import json
from pathlib import Path
from typing import Any

FORMAT = "open_webui"


def chat() -> dict[str, Any]:
    """One question that two models answered, and a second question that one model answered."""
    return {
        "id": "chat-1",
        "title": "Moon",
        "chat": {
            "models": ["m-a", "m-b"],
            "history": {
                "currentId": "a2",
                "messages": {
                    "u1": {
                        "id": "u1",
                        "parentId": None,
                        "childrenIds": ["a1", "b1"],
                        "role": "user",
                        "content": "How far?",
                    },
                    "a1": {"id": "a1", "parentId": "u1", "role": "assistant", "content": "Far.", "model": "m-a"},
                    "b1": {"id": "b1", "parentId": "u1", "role": "assistant", "content": "384,400 km.", "model": "m-b"},
                    "u2": {"id": "u2", "parentId": "b1", "childrenIds": ["a2"], "role": "user", "content": "And Mars?"},
                    "a2": {"id": "a2", "parentId": "u2", "role": "assistant", "content": "It varies.", "model": "m-b"},
                },
            },
        },
    }


def entry(message_id: str = "b1", rating: object = 1, siblings: object = ("m-a",), **changes: Any) -> dict[str, Any]:
    return {
        "id": f"feedback-{message_id}",
        "user_id": "ann",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "m-b", "sibling_model_ids": siblings, "reason": "", "comment": "x"},
        "meta": {"arena": True, "chat_id": "chat-1", "message_id": message_id, "message_index": 2, "model_id": "m-b"},
        "snapshot": {"chat": chat()},
        "created_at": 1_760_000_000,
        "updated_at": 1_760_000_060,
        **changes,
    }


def exported(*ratings: tuple[str, object], **changes: Any) -> dict[str, Any]:
    """A chat as the export of all chats has it: the chat above under another id, with ratings beside its answers."""
    row = chat() | {"id": "chat-2", "user_id": "bob", "created_at": 1_760_000_000, "updated_at": 1_760_000_900}
    messages = row["chat"]["history"]["messages"]
    for message_id, rating in ratings:
        messages[message_id] |= {
            "annotation": {"type": "rating", "rating": rating, "reason": ""},
            "timestamp": 1_760_000_300,
        }
    return row | changes


def write(folder: Path) -> Path:
    (folder / "all-chats-export.json").write_text(json.dumps([exported(("a2", 1), ("a1", -1))]), encoding="utf-8")
    path = folder / "feedback-history-export.json"
    path.write_text(json.dumps([entry(), entry("a2", "-1", None)]), encoding="utf-8")
    return path
