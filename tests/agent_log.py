"""A log of an assistant with tools: plain questions, system turns, calls and thoughts, each answered well and badly."""

import json
from typing import Any, Final

from thumbline.pipeline.importers.base import Events, RawEvent, Row, has_columns, row_importer
from thumbline.pipeline.storage.digests import compact_json

FROST: Final = {
    "type": "function",
    "function": {
        "name": "frost",
        "description": "Whether it freezes.",
        "parameters": {"type": "object", "properties": {"night": {"type": "string"}}, "required": ["night"]},
    },
}
CASES: Final = ("plain", "system", "tools", "results", "reasoning")


def message(role: str, content: str, **extra: Any) -> dict[str, Any]:
    """A message as the log has it."""
    return {"role": role, "content": content, **extra}


def called(night: str) -> dict[str, Any]:
    """A message that calls the tool, its arguments as text."""
    arguments = json.dumps({"night": night})
    call = {"id": f"call-{night}", "type": "function", "function": {"name": "frost", "arguments": arguments}}
    return message("assistant", "", tool_calls=[call])


def row(case: str, number: int, *, good: bool) -> Row:
    """One rated answer."""
    night = f"night {number} of {case}"
    asked = message("user", f"Does it freeze in {night}?")
    before = {
        "system": [message("system", "Be brief."), asked],
        "results": [asked, called(night), message("tool", "no", tool_call_id=f"call-{night}")],
    }
    thoughts = {"reasoning_content": "It is May."} if case == "reasoning" and good else {}
    plain = message("assistant", "No, it is warm." if good else "Who knows.", **thoughts)
    return {
        "case": case,
        "prompt": before.get(case, [asked]),
        "answer": called(night) if case == "tools" and good else plain,
        "tools": [FROST] if case in ("tools", "results") else None,
        "good": good,
    }


def rows(*cases: str, prompts: int = 16) -> list[Row]:
    """Both answers to some prompts of each case."""
    return [row(case, number, good=good) for case in cases for number in range(prompts) for good in (True, False)]


def _stored(logged: Row) -> dict[str, Any]:
    extra = {key: value for key, value in logged.items() if key not in ("role", "content")}
    return {"role": logged["role"], "content": logged["content"], **({"extra": compact_json(extra)} if extra else {})}


def _events(logged: Row) -> Events:
    answer = _stored(logged["answer"])
    yield RawEvent(
        prompt=[_stored(turn) for turn in logged["prompt"]],
        completion=answer["content"],
        completion_extra=answer.get("extra"),
        tools=compact_json(logged["tools"]) if logged["tools"] else None,
        vote="up" if logged["good"] else "down",
    )


SPEC: Final = row_importer(
    "agent_log",
    "An assistant with tools: prompt, answer, tools and good.",
    detect=has_columns({"case", "prompt", "answer", "tools", "good"}),
    parse=_events,
)
