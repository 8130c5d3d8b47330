"""Messages as tracing tools write them: content parts, LangChain's classes, completions' choices, JSON inside a string.

A prompt is found in what went into a model or a chain, an answer in what came out. What is kept is text: parts that
are no text are left out of a message, and a user's message of nothing else is refused. A message that calls a tool has
no text of its own and stays as an empty one, so that the tool's result after it has its place.
"""

from collections.abc import Mapping
from typing import Any, Final

from ...errors import examples
from ...reading.guard import decode_object
from ...reading.records import RowError, bounded_label
from ..base import Message
from .values import ROLES

_ROLE_NAMES: Final = {
    "human": "user",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "model": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "function",
}
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})
_THOUGHTS: Final = frozenset({"reasoning", "thinking"})
_TOOL_PARTS: Final = frozenset({"tool_call_response"})
# Where chains put the text, the first that is there counts.
_PROMPT_FIELDS: Final = ("messages", "input", "inputs", "question", "query", "prompt", "user_input", "content", "text")
_ANSWER_FIELDS: Final = (
    "choices",
    "messages",
    "generations",
    "output",
    "outputs",
    "answer",
    "response",
    "message",
    "content",
    "text",
    "output_text",
    "result",
    "completion",
)
_HISTORY_FIELDS: Final = ("chat_history", "history")
_CHAT_FIELDS: Final = frozenset({"messages", "choices", "generations", "kwargs"})
_MAX_DEPTH: Final = 8


def prompt_messages(value: Any, field: str, path: tuple[str, ...] = ()) -> list[Message]:
    """The messages of what went in.

    Args:
        value: A text, a message, a list of messages, or an object with one of them under a usual name.
        field: The field's name, for the error.
        path: Keys that lead to the text in `value`; none where usual names are to be tried.

    Raises:
        RowError: None of these, an unknown role, or no text.
    """
    messages = _prompt(_follow(value, field, path), field, 0)
    if not any(message["content"].strip() for message in messages):
        raise RowError("empty_prompt", f"field '{field}' has no message with content")
    return messages


def answer_text(value: Any, field: str, path: tuple[str, ...] = ()) -> str:
    """The text of what came out.

    Args:
        value: A text, an assistant's message, messages that end in one, or an object with one of them.
        field: The field's name, for the error.
        path: Keys that lead to the text in `value`; none where usual names are to be tried.

    Raises:
        RowError: None of these, several choices, or blank.
    """
    text = _answer(_follow(value, field, path), field, 0)
    if not text.strip():
        raise RowError("empty_completion", f"field '{field}' is blank")
    return text


def option_path(options: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The keys of a dotted path that an option states."""
    return tuple(options[name].split(".")) if name in options else ()


def _follow(value: Any, field: str, path: tuple[str, ...]) -> Any:
    for key in path:
        value = parsed(value)
        if isinstance(value, list) and key.lstrip("-").isdigit() and -len(value) <= int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            raise RowError("missing_field", f"field '{field}' has no '{key}'")
    return value


def parsed(value: Any, begins: tuple[str, ...] = ("{", "[")) -> Any:
    """The value of a string that is JSON, as spreadsheets and span attributes hold it; anything else as it is.

    Args:
        value: Anything.
        begins: How such a string begins; empty for any.
    """
    if not isinstance(value, str) or (begins and not value.lstrip().startswith(begins)):
        return value
    try:
        # Inside an object it passes every guard of a line: depth, repeated keys, NUL.
        decoded = decode_object(b'{"value":' + value.encode() + b"}")
    except (RowError, UnicodeEncodeError):
        return value
    return decoded["value"] if len(decoded) == 1 else value


def _chat(value: Any) -> Any:
    """The value of a string that is JSON of messages; any other string is what somebody wrote."""
    content = parsed(value)
    if isinstance(content, dict) and (_CHAT_FIELDS & set(content) or {"role", "content"} <= set(content)):
        return content
    if isinstance(content, list) and content and all(isinstance(entry, dict) and _role_of(entry) for entry in content):
        return content
    return value


def _prompt(value: Any, field: str, depth: int) -> list[Message]:
    value = _chat(value)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        # LangChain writes a batch of one conversation.
        entries = value[0] if len(value) == 1 and isinstance(value[0], list) else value
        return [message(entry, field) for entry in entries]
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or messages")
    if _role_of(value):
        return [message(value, field)]
    key = _text_key(value, _PROMPT_FIELDS, field, "prompt")
    system = content_text(value.get("system"), field)
    history = [entry for name in _HISTORY_FIELDS for entry in _list(value, name)]
    before = [
        *([{"role": "system", "content": system}] if system else []),
        *(message(entry, field) for entry in history),
    ]
    return before + _prompt(value[key], field, depth + 1)


def _answer(value: Any, field: str, depth: int) -> str:
    value = _chat(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _last_answer(value, field, depth)
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or a message")
    if _role_of(value):
        return _assistant_text(message(value, field), field)
    return _answer(value[_text_key(value, _ANSWER_FIELDS, field, "completion")], field, depth + 1)


def _last_answer(entries: list[Any], field: str, depth: int) -> str:
    """The answer that a list holds: its only entry's, or the last of its messages'."""
    entries = [entry for entry in entries if not (isinstance(entry, dict) and _word(entry.get("type")) in _THOUGHTS)]
    if len(entries) == 1:
        return _answer(entries[0], field, depth + 1)
    if not entries or not all(isinstance(entry, dict) and _role_of(entry) for entry in entries):
        raise RowError("several_messages", f"field '{field}' lists {len(entries)} answers, not one")
    return _assistant_text(message(entries[-1], field), field)


def _assistant_text(message: Message, field: str) -> str:
    if message["role"] != "assistant":
        raise RowError(
            "unknown_role", f"field '{field}' ends in a message of role '{message['role']}', not of assistant"
        )
    return message["content"]


def _text_key(value: Mapping[str, Any], names: tuple[str, ...], field: str, option: str) -> str:
    """The key under which an object holds its text: a usual name, or its only text."""
    usual = [name for name in names if value.get(name) is not None]
    only = [name for name, child in value.items() if isinstance(child, str)]
    if usual or len(only) == 1:
        return (usual or only)[0]
    seen = examples((str(name)[:40] for name in value), 8)
    raise RowError("unknown_shape", f"field '{field}' has the keys {seen}; state the text's with the option `{option}`")


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, or of JSON inside a string that holds one; none where it is anything else."""
    decoded = parsed(value)
    return [entry for entry in decoded if isinstance(entry, dict)] if isinstance(decoded, list) else []


def object_of(value: Any) -> dict[str, Any]:
    """An object, or JSON inside a string that holds one; an empty one where it is anything else."""
    decoded = parsed(value)
    return decoded if isinstance(decoded, dict) else {}


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    listed = value.get(name)
    return listed if isinstance(listed, list) else []


def _role_of(entry: Mapping[str, Any]) -> Any:
    """The role that a message states in any of the ways known, else None."""
    if "role" in entry:
        return entry["role"]
    if isinstance(entry.get("kwargs"), dict) and isinstance(entry.get("id"), list) and entry["id"]:
        return entry["id"][-1]
    kind = _word(entry.get("type"))
    return kind if kind in _ROLE_NAMES or kind in ROLES else None


def _word(value: Any) -> str:
    """A text, or an empty one in place of anything else: what is no text can be no key either."""
    return value if isinstance(value, str) else ""


def message(entry: Any, field: str) -> Message:
    """One message as role and text.

    Raises:
        RowError: No message, an unknown role, or a user's message without text.
    """
    if not isinstance(entry, dict):
        raise RowError("wrong_type", f"field '{field}' lists a {type(entry).__name__}, not a message")
    stated = _role_of(entry)
    role = _ROLE_NAMES.get(stated, stated) if isinstance(stated, str) else None
    if role not in ROLES:
        raise RowError("unknown_role", f"field '{field}' has a message of role {bounded_label(stated)}")
    body = next((entry[name] for name in ("kwargs", "data") if isinstance(entry.get(name), dict)), entry)
    content = body.get("content") if body.get("content") is not None else body.get("parts")
    text = content_text(content, field)
    if not text and role == "user":
        raise RowError("no_text", f"field '{field}' has a user's message without text")
    return {"role": str(role), "content": text}


def content_text(content: Any, field: str) -> str:
    """The text of a message's content: a string, a list of parts, or nothing.

    Raises:
        RowError: It is anything else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RowError("wrong_type", f"field '{field}' has a message whose content is a {type(content).__name__}")
    return "\n".join(text for text in map(_part_text, content) if text is not None)


def _part_text(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    kind = _word(part.get("type", "text"))
    fields = ("text", "content") if kind in _TEXT_PARTS else ("response", "result") if kind in _TOOL_PARTS else ()
    return next((part[field] for field in fields if isinstance(part.get(field), str)), None)
