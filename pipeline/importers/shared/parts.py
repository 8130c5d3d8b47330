"""Parts of a message's content: text, thoughts, calls of tools and their results; anything else is no text."""

from typing import Any, Final, Literal

from ...reading.records import RowError, bounded_label
from ..base import Message
from .calls import as_json

Kind = Literal["text", "reasoning_content", "thinking", "call", "result", "silent", "other"]
# Type of a part to what it is; thoughts by the key that they get in their message.
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "refusal"), "text"),
    **dict.fromkeys(("reasoning", "think", "summary_text"), "reasoning_content"),
    "thinking": "thinking",
    # Thoughts that only their provider can read.
    "redacted_thinking": "silent",
    **dict.fromkeys(("tool_use", "tool_call", "function_call"), "call"),
    **dict.fromkeys(("tool_result", "tool_call_response", "function_call_output"), "result"),
}
THOUGHTS: Final = ("reasoning_content", "thinking")
_TEXTS: Final = ("text", "content", "thinking", "reasoning", "think", "refusal", "summary", "value")
_RESULTS: Final = ("content", "response", "result", "output")
_CALL_IDS: Final = ("tool_use_id", "tool_call_id", "call_id", "id")


def part_kind(part: Any) -> Kind:
    """What a part is: by its type, or a text where it has none."""
    if isinstance(part, str):
        return "text"
    kind = part.get("type") if isinstance(part, dict) else None
    if kind is None:
        return "text" if isinstance(part, dict) and "text" in part else "other"
    return _KINDS.get(kind, "other") if isinstance(kind, str) else "other"


def is_beside(entry: dict[str, Any]) -> bool:
    """Whether an object is a call or a thought that stands by itself, and no message."""
    return not {"role", "from"} & entry.keys() and part_kind(entry) in ("call", *THOUGHTS)


def part_text(part: Any, field: str) -> str:
    """The text of a part that is a text or a thought; empty where it holds none.

    Raises:
        RowError: It is anything else.
    """
    if isinstance(part, str):
        return part
    if part_kind(part) in ("text", *THOUGHTS):
        found = next((part[name] for name in _TEXTS if part.get(name) is not None), "")
        found = found["value"] if isinstance(found, dict) and "value" in found else found
        if isinstance(found, list):
            return "\n".join(part_text(inner, field) for inner in found)
        if isinstance(found, str):
            return found
    kind = part.get("type") if isinstance(part, dict) else None
    shown = bounded_label(kind) if kind is not None else f"a {type(part).__name__}"
    raise RowError("not_text", f"field '{field}' has a part of type {shown}, which is no text")


def result_message(part: dict[str, Any], field: str) -> Message:
    """The message of a tool that a part is.

    Raises:
        RowError: It holds a part that is no text.
    """
    found = next((part[name] for name in _RESULTS if part.get(name) is not None), "")
    if isinstance(found, list):
        text = "\n".join(part_text(inner, field) for inner in found)
    else:
        text = found if isinstance(found, str) else as_json(found, field)
    call = next((part[name] for name in _CALL_IDS if isinstance(part.get(name), str)), None)
    message = {"role": "tool", "content": text}
    return message if call is None else message | {"extra": as_json({"tool_call_id": call}, field)}
