"""LibreChat's messages as MongoDB exports them, not in the conversation's order."""

from pathlib import Path
from typing import Any

from tests.unit.importers.fixtures_librechat import messages
from tests.unit.importers.logs import write_lines

FORMAT = "librechat_messages"


def rows() -> list[dict[str, Any]]:
    time = {"$date": {"$numberLong": "1772366400000"}}
    return [
        {"_id": {"$oid": f"65f0{number}"}, **message, "user": "ann", "createdAt": time}
        for number, message in enumerate(reversed(messages()))
    ]


def write(folder: Path) -> Path:
    return write_lines(folder / "messages.jsonl", *rows())
