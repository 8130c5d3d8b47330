"""Calls of tools and the tools that were offered, in the one shape that chat templates read: OpenAI's.

A call is `{"type": "function", "id": ..., "function": {"name": ..., "arguments": ...}}`; arguments stay what they were
written as, a text or an object.
"""

from collections.abc import Mapping
from typing import Any, Final

from ...reading.records import RowError
from ...storage.digests import compact_json
from .embedded import literal

Call = dict[str, Any]
# The column under which data sets hold the tools that were offered.
TOOLS: Final = "tools"
# The names under which parts of a content, and LangChain's calls, hold arguments.
_ARGUMENTS: Final = ("input", "arguments", "args", "parameters")


def stated_calls(body: Mapping[str, Any], field: str) -> list[Call]:
    """The calls that a message states beside its content.

    Raises:
        RowError: They are no list of calls.
    """
    along = body.get("additional_kwargs")
    for place in (body, along if isinstance(along, dict) else {}):
        if said := _decoded(place.get("tool_calls")):
            if not isinstance(said, list) or not all(map(_is_call, said)):
                raise RowError("bad_tool_call", f"field '{field}' has tool calls that are no list of named functions")
            return [_shaped(call) for call in said]
        if isinstance(place.get("function_call"), dict):
            return [{"type": "function", "function": place["function_call"]}]
    return []


def part_call(part: Mapping[str, Any], field: str) -> Call:
    """The call that a part of a content is, as Anthropic and OpenTelemetry write it.

    Raises:
        RowError: It names no function, or holds its result too.
    """
    inner = part.get("tool_call")
    if isinstance(inner, dict):  # as LibreChat writes it, with what came of it
        if inner.get("output") is not None:
            raise RowError("bad_tool_call", f"field '{field}' has a call and its result in one part")
        return part_call(inner, field)
    if isinstance(part.get("function"), dict):
        return _shaped(part)
    if not isinstance(part.get("name"), str):
        raise RowError("bad_tool_call", f"field '{field}' has a call that names no function")
    arguments: Any = next((part[name] for name in _ARGUMENTS if part.get(name) is not None), {})
    return _call(part.get("id") or part.get("call_id"), part.get("name"), arguments)


def function_calls(text: str, field: str) -> list[Call]:
    """The calls that a text of JSON is: an object with name and arguments, or a list of them.

    Raises:
        RowError: It is neither.
    """
    decoded = _decoded(text)
    calls = decoded if isinstance(decoded, list) else [decoded]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise RowError("bad_tool_call", f"field '{field}' has a function call that is no JSON of name and arguments")
    return [part_call(call, field) for call in calls]


def offered_tools(value: Any, field: str) -> str | None:
    """The tools that were offered, as `RawEvent.tools`; None where there are none.

    Args:
        value: A list of objects, of which each may be JSON text, or JSON text of a list; null or empty for none.
        field: The field's name, for the error.

    Raises:
        RowError: It is none of these.
    """
    decoded = _decoded(value)
    if not decoded or (isinstance(decoded, str) and decoded.strip().lower() in ("", "null", "none")):
        return None
    tools = [_decoded(tool) for tool in decoded] if isinstance(decoded, list) else None
    if tools is None or not all(isinstance(tool, dict) for tool in tools):
        raise RowError("bad_tools", f"field '{field}' is no list of tools, nor JSON of one")
    return as_json(tools, field)


def as_json(value: Any, field: str) -> str:
    """`compact_json` of what a log holds.

    Raises:
        RowError: It holds what JSON has no word for.
    """
    try:
        return compact_json(value)
    except (TypeError, ValueError) as error:
        raise RowError("wrong_type", f"field '{field}' holds a value that JSON cannot write") from error


def _decoded(value: Any) -> Any:
    """What a text of JSON or Python holds; anything else as it is."""
    return literal(value) if isinstance(value, str) and value.lstrip().startswith(("[", "{")) else value


def _is_call(call: Any) -> bool:
    """Whether a value is a call that names what it calls."""
    inner = next((call[key] for key in ("function", "custom") if key in call), call) if isinstance(call, dict) else None
    return isinstance(inner, dict) and isinstance(inner.get("name"), str)


def _shaped(call: Mapping[str, Any]) -> Call:
    """A call in OpenAI's shape; one that has it stays as it is."""
    if isinstance(call.get("function"), dict) or "args" not in call:
        return dict(call)
    return _call(call.get("id"), call.get("name"), call["args"])


def _call(call_id: Any, name: Any, arguments: Any) -> Call:
    named = {"id": call_id} if isinstance(call_id, str) and call_id else {}
    return {"type": "function", **named, "function": {"name": name, "arguments": arguments}}
