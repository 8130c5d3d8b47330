"""A feedback export of Open WebUI with an arena rating and a plain one."""

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


def write(folder: Path) -> Path:
    path = folder / "feedback-history-export.json"
    path.write_text(json.dumps([entry(), entry("a2", "-1", None)]), encoding="utf-8")
    return path
