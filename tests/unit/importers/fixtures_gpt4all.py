"""A conversation of GPT4All's datalake with a thumb and an edit."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import assistant, user, write_lines

FORMAT = "gpt4all"


def conversation(*messages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "source": "gpt4all-chat",
        "submitter_id": "s1",
        "agent_id": "m-a",
        "ingest_id": "i1",
        "ingest_timestamp": "2026-03-01T12:00:00Z",
        "conversation": list(messages),
        **changes,
    }


def rated() -> dict[str, Any]:
    return conversation(
        {"role": "system", "content": "Be brief."},
        user("How far is the moon?"),
        assistant("Far.") | {"rating": "negative", "edited_content": "384,400 km."},
        user("And Mars?"),
        assistant("It varies.") | {"rating": "positive", "edited_content": None, "extra": 1},
        user("Thanks"),
        assistant("Welcome."),
    )


def write(folder: Path) -> Path:
    return write_lines(folder / "datalake.jsonl", rated())
