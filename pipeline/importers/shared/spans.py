"""Spans of OpenTelemetry as exporters, collectors and tracing servers write them, and the texts in their attributes.

Attributes come as one flat object, as nested objects, as columns named `attributes.x`, or as OTLP's list of keys and
typed values; messages come as a list, as JSON of one, or spread over numbered attributes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...reading.records import RowError
from ..base import Message
from . import values
from .calls import offered_tools, part_call
from .embedded import parsed
from .feedback import Settings
from .joins import Row, text_or_problem
from .messages import content_text
from .texts import Text

# Attributes of what went in and what came out, under the conventions of OpenTelemetry, OpenInference and OpenLLMetry.
_SIDES: Final = (
    ("gen_ai.input.messages", "gen_ai.output.messages"),
    ("llm.input_messages", "llm.output_messages"),
    ("gen_ai.prompt", "gen_ai.completion"),
    ("input.value", "output.value"),
)
_TOOLS: Final = "gen_ai.tool.definitions"
_MODELS: Final = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_CONVERSATIONS: Final = ("gen_ai.conversation.id", "session.id")
_USERS: Final = ("user.id", "enduser.id")
_NUMBERED: Final = re.compile(
    r"(\d+)\.(?:message\.)?(?:(role|content|name|tool_call_id)|contents\.\d+\.message_content\.(text)|"
    r"tool_calls\.(\d+)\.(?:tool_call\.)?(?:function\.)?(id|name|arguments))"
)


def span_attributes(row: Row) -> dict[str, Any]:
    """The attributes of a span, an event or a log record by their dotted names; lists stay as they are."""
    stated = parsed(row.get("attributes"))
    attributes = _typed_list(stated) if isinstance(stated, list) else dict(_flat("", stated))
    columns = {name: parsed(row[name]) for name in row if name.startswith("attributes.")}
    for name, value in columns.items():
        if value is not None:
            attributes.update(_flat(name.removeprefix("attributes."), value))
    return attributes


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        if prefix:
            yield prefix, value
        return
    for name, child in value.items():
        yield from _flat(f"{prefix}.{name}" if prefix else str(name), child)


def _typed_list(entries: list[Any]) -> dict[str, Any]:
    """OTLP's list of keys and typed values."""
    pairs = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("key"), str)]
    return {entry["key"]: _typed(entry.get("value")) for entry in pairs}


def _typed(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_typed(entry) for entry in inner.get("values", [])] if isinstance(inner, dict) else None
    if kind == "kvlistValue":
        return _typed_list(inner.get("values", [])) if isinstance(inner, dict) else None
    # OTLP writes whole numbers as texts, since JSON's numbers are too small for them.
    if kind == "intValue" and isinstance(inner, str) and inner.lstrip("-").isdigit():
        return int(inner)
    return inner


def span_id(row: Row) -> str | None:
    """The id of a span, or of the span that an event or a log record belongs to, without the mark of hexadecimal."""
    context = parsed(row.get("context"))
    inner = context if isinstance(context, dict) else {}
    for value in (row.get("span_id"), row.get("spanId"), row.get("context.span_id"), inner.get("span_id")):
        if isinstance(value, str) and value:
            return value.removeprefix("0x").lower()
    return None


def has_texts(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes hold what came out of a model or a chain, under any convention."""
    return any(_side(attributes, came_out) is not None for _, came_out in _SIDES)


def span_text(key: str, attributes: Mapping[str, Any], settings: Settings) -> Text:
    """The text of a span's attributes."""

    def first(names: tuple[str, ...]) -> str | None:
        return next(
            (value for value in (values.identifier(attributes, name) for name in names) if value is not None), None
        )

    return text_or_problem(
        key,
        lambda: Text(
            key,
            _messages(attributes, settings),
            conversation=first(_CONVERSATIONS),
            user_id=first(_USERS),
            model=first(_MODELS),
            tools=offered_tools(attributes.get(_TOOLS), _TOOLS),
        ),
    )


def _messages(attributes: Mapping[str, Any], settings: Settings) -> list[Message]:
    for names in _SIDES:
        went_in, came_out = (_side(attributes, name) for name in names)
        if came_out is None:
            continue
        if names[1] == "gen_ai.output.messages" and isinstance(came_out, list) and len(came_out) != 1:
            raise RowError("several_messages", f"the span's '{names[1]}' has {len(came_out)} choices, not one")
        messages = settings.messages(went_in, came_out, names)
        instructions = parsed(attributes.get("gen_ai.system_instructions"))
        system = content_text(instructions, "gen_ai.system_instructions")
        return [{"role": "system", "content": system}, *messages] if system else messages
    raise RowError("missing_field", "the span's attributes hold no output")


def _side(attributes: Mapping[str, Any], name: str) -> Any:
    """What attributes hold under a name: the attribute itself, or messages spread over numbered ones."""
    whole = attributes.get(name)
    if whole is not None:
        whole = parsed(whole)
        return [_unwrapped(entry) for entry in whole] if isinstance(whole, list) else whole
    spread: dict[int, dict[str, Any]] = {}
    for attribute, value in attributes.items():
        match = _NUMBERED.fullmatch(attribute.removeprefix(f"{name}.")) if attribute.startswith(f"{name}.") else None
        if match is not None:
            _put(spread.setdefault(int(match[1]), {}), match, value)
    return [_with_calls(spread[number]) for number in sorted(spread)] or None


def _put(entry: dict[str, Any], match: re.Match[str], value: Any) -> None:
    """Put a numbered attribute of a message where it belongs."""
    if match[2]:
        entry[match[2]] = value
    elif match[3]:
        entry.setdefault("parts", []).append(value)
    else:
        entry.setdefault("tool_calls", {}).setdefault(int(match[4]), {})[match[5]] = value


def _with_calls(entry: dict[str, Any]) -> dict[str, Any]:
    """The message, its numbered calls as a list."""
    calls = entry.get("tool_calls", {})
    listed = [part_call(calls[number], "tool_calls") for number in sorted(calls)]
    return entry | {"tool_calls": listed} if listed else entry


def _unwrapped(entry: Any) -> Any:
    """A message out of OpenInference's wrapping: nested under `message`, or with names that begin with it."""
    if not isinstance(entry, dict):
        return entry
    if isinstance(entry.get("message"), dict):
        return entry["message"]
    return {str(name).removeprefix("message."): value for name, value in entry.items()}
