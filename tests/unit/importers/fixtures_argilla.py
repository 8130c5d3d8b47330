"""Argilla's records in their three shapes."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import write_lines

FORMAT = "argilla"
FIELDS = {"prompt": "How far is the moon?", "response": "Far.", "response-2": "384,400 km."}


def response(status: object = "submitted", user_id: str = "ann", **given: Any) -> dict[str, Any]:
    return {
        "id": f"r-{user_id}",
        "values": {question: {"value": value} for question, value in given.items()},
        "status": status,
        "user_id": user_id,
        "inserted_at": "2026-03-01T12:00:00.000000",
        "updated_at": "2026-03-01T12:05:00.000000",
    }


def record(*responses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A record as the server gives it."""
    return {
        "id": "rec-1",
        "external_id": "x1",
        "status": "completed",
        "fields": FIELDS,
        "metadata": {"model": "m-a", "length": 3},
        "responses": list(responses),
        "suggestions": [{"question_name": "quality", "value": 1}],
        **changes,
    }


def exported(question: str, *entries: dict[str, Any]) -> dict[str, Any]:
    """A record as the SDK exports it."""
    return {"id": "rec-1", "fields": FIELDS, "metadata": {}, "responses": {question: list(entries)}}


def table_row(question: str, values: list[Any], users: list[Any], statuses: list[Any]) -> dict[str, Any]:
    """A record as a row of a data set."""
    name = f"{question}.responses"
    return {"id": "rec-1", **FIELDS, name: values, f"{name}.users": users, f"{name}.status": statuses}


def write(folder: Path) -> Path:
    rows = [record(response(quality=4), response("draft", "bob", quality=1))]
    return write_lines(folder / "records.jsonl", *rows)
