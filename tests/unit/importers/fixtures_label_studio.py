"""A pairwise export of Label Studio: a task that two people annotated and one skipped."""

import json
from pathlib import Path
from typing import Any

FORMAT = "label_studio"


def annotation(number: int, selected: object, who: object = 1, **changes: Any) -> dict[str, Any]:
    result = {
        "id": f"r{number}",
        "type": "pairwise",
        "from_name": "pw",
        "to_name": "answer1,answer2",
        "value": {"selected": selected},
    }
    return {
        "id": number,
        "completed_by": who,
        "result": [result],
        "was_cancelled": False,
        "created_at": "2026-03-01T12:00:00.000000Z",
        "updated_at": "2026-03-01T12:05:00.000000Z",
        "lead_time": 12.5,
        **changes,
    }


def task(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    data = {"prompt": "How far is the moon?", "answer1": "Far.", "answer2": "384,400 km."}
    return {"id": 7, "annotations": list(annotations), "data": data, "meta": {}, "project": 1, **changes}


def write(folder: Path) -> Path:
    path = folder / "project-1.json"
    skipped = annotation(3, None, who=3, was_cancelled=True, result=[])
    rows = [task(annotation(1, "right"), annotation(2, "left", who={"id": 2, "email": "x@example.org"}), skipped)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path
