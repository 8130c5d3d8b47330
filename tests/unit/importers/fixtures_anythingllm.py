"""An export of AnythingLLM's chats as JSON."""

import json
from pathlib import Path
from typing import Any

FORMAT = "anythingllm"


def chat(number: int, rating: str = "--", **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "prompt": f"How is part {number} cleaned?",
        "response": f"Rinse part {number}.\nThen dry it.",
        "sent_at": f"2026-04-0{number}T09:30:00.000Z",
        "attachments": [],
        "workspace": "Workshop",
        "username": "uma",
        "rating": rating,
        **changes,
    }


def write(folder: Path) -> Path:
    path = folder / "chats.json"
    rows = [chat(1, "GOOD"), chat(2, "BAD"), chat(3), chat(4, "FINE"), chat(5, "GOOD", attachments=[{"type": "image"}])]
    path.write_text(json.dumps(rows, indent=4), encoding="utf-8")
    return path
