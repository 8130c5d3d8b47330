"""ms-swift's DPO and KTO.

Source: ms-swift, "Custom Dataset", `swift.dataset.preprocessor.core` and `swift.template.template_inputs`:
`messages` that end with the answer, with `rejected_response` or `label`; tools as JSON text, each call a turn of
`tool_call`, each result a turn of `tool_response`. A rejected text takes the place of all that follows the last
user turn, so rows in which tools are used go to files of their own with `rejected_messages` and `rejected_tools`.
Thoughts stand in the text, in `<think>`.
"""

import json
from typing import Any, Final

from ..rows import Message, Pair, Rated
from .base import CannotTakeError, Limits, Line, Target, Written
from .checks import ends_with, of_roles
from .functions import as_chat, calls, offered, uses_tools
from .thoughts import thinking_text

_PART: Final = "tools"


def _pair(row: Pair) -> Line:
    prompt = _prompt(row)
    chosen, rejected = _turns(row.chosen), _turns(row.rejected)
    tools = _tools(row.tools)
    if tools or uses_tools([*row.prompt, row.chosen, row.rejected]):
        beside = {"rejected_messages": [*prompt, *rejected], **{f"rejected_{key}": tools[key] for key in tools}}
        return Line({"messages": [*prompt, *chosen], **beside, **tools}, _PART)
    return Line({"messages": [*prompt, *chosen], "rejected_response": rejected[0]["content"]})


def _rated(row: Rated) -> Line:
    line = {"messages": [*_prompt(row), *_turns(row.completion)], "label": row.label, **_tools(row.tools)}
    is_plain = not row.tools and not uses_tools([*row.prompt, row.completion])
    return Line(line, "" if is_plain else _PART)


def _prompt(row: Pair | Rated) -> list[Message]:
    of_roles(row.prompt, ("system", "user", "assistant", "tool"))
    ends_with(row.prompt, "user", "tool")
    # Results are told by their place there: refuses those that do not follow their calls.
    as_chat(row.prompt)
    return [turn for message in row.prompt for turn in _turns(message)]


def _turns(message: Message) -> list[Message]:
    if message["role"] == "tool":
        return [{"role": "tool_response", "content": message["content"]}]
    text = thinking_text(message)
    found = [_call(call.name, call.parsed()) for call in calls(message)]
    if not text.strip() and not found:
        raise CannotTakeError("empty_message", f"a turn of '{message['role']}' has no text")
    return ([{"role": message["role"], "content": text}] if text.strip() else []) + found


def _call(name: str, arguments: Any) -> Message:
    content = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return {"role": "tool_call", "content": content}


def _tools(tools: list[Any]) -> dict[str, str]:
    return {"tools": json.dumps(offered(tools), ensure_ascii=False)} if tools else {}


def _usage(written: Written) -> str:
    commands = [
        f"swift rlhf --rlhf_type {method} --model MODEL --dataset {train}"
        + (f" --val_dataset {held_out}" if held_out else "")
        for kind, method in (("pairs", "dpo"), ("unpaired", "kto"))
        for part in ("", _PART)
        if (train := written.file(kind, "train", part))  # type: ignore[arg-type]
        for held_out in [written.file(kind, "validation", part)]  # type: ignore[arg-type]
    ]
    lines = ["```bash", *commands, "```", ""]
    if any(f"_{_PART}_" in name for name in written.rows):
        lines += ["Rows with tools stand in files of their own: pairs of them have both conversations whole.", ""]
    return "\n".join(lines)


TARGET: Final = Target(
    name="ms-swift",
    title="ms-swift DPO and KTO",
    usage=_usage,
    pair=_pair,
    rated=_rated,
    limits=Limits(),
    parts=(_PART,),
)
