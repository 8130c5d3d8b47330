"""A question of fine-grained RLHF's feedback with four answers and six judgements."""

import json
from pathlib import Path
from typing import Any

FORMAT = "finegrained_rlhf"


def row(*preference: object, **changes: Any) -> dict[str, Any]:
    return {
        "question": "How far is the moon?",
        "passages": [["Moon", "The Moon orbits Earth."], ["Mars", "Mars is red."]],
        "gold": "384,400 km.",
        **{f"prediction {number}": f"Answer {number}" for number in (1, 2, 3, 4)},
        "feedback": {"errors": []},
        "preference": list(preference or (0, 1, 2, 1, 0, 2)),
        **changes,
    }


def write(folder: Path) -> Path:
    path = folder / "feedback.json"
    path.write_text(json.dumps([row()]), encoding="utf-8")
    return path
