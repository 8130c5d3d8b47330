"""Preference lines as OpenAI's fine-tuning takes them."""

from pathlib import Path
from typing import Any

from tests.unit.importers.fixtures_conversations import BAD, GOOD, chat
from tests.unit.importers.logs import write_lines

FORMAT = "openai_preference"


def line(chosen: str = GOOD, rejected: str = BAD, **asked: Any) -> dict[str, Any]:
    sides = ({"role": "assistant", "content": text} for text in (chosen, rejected))
    preferred, other = sides
    return {
        "input": {"messages": chat(None, ("system", "Be brief.")), "parallel_tool_calls": True, **asked},
        "preferred_output": [preferred],
        "non_preferred_output": [other],
    }


def write(folder: Path) -> Path:
    return write_lines(folder / "rows.jsonl", line(), line(rejected="With ice."), line(chosen=" "))
