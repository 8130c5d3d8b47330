"""Rows of LLaMA-Factory's and ms-swift's data sets: a label or a worse answer beside a conversation."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import write_lines

FORMAT = "conversations"
ASKED, GOOD, BAD = "How is tea made?", "With hot water.", "With cold water."


def chat(answer: str | None = GOOD, *before: tuple[str, str]) -> list[dict[str, Any]]:
    """A conversation that ends in an answer, or in the question."""
    turns = [*before, ("user", ASKED), *([] if answer is None else [("assistant", answer)])]
    return [{"role": role, "content": content} for role, content in turns]


def write(folder: Path) -> Path:
    return write_lines(
        folder / "rows.jsonl",
        {"messages": chat(), "label": True},
        {"messages": chat(BAD, ("system", "Be brief.")), "label": False},
        {"messages": chat(), "rejected_response": BAD, "system": "Be brief."},
        {"messages": chat(None), "label": True},
    )
