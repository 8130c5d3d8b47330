"""Messages as tracing tools write them: content parts, LangChain's classes, completions' choices, JSON inside a string.

A prompt is found in what went into a model or a chain, an answer in what came out. How a message itself is read is
said in `messages`.
"""

from collections.abc import Mapping
from typing import Any, Final

from ...errors import examples
from ...reading.records import RowError
from ..base import Message
from .calls import offered_tools
from .embedded import parsed
from .messages import Answer, answer_of, content_text, made, read_message, says_something
from .parts import is_beside
from .roles import role_of

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
    if not any(map(says_something, messages)):
        raise RowError("empty_prompt", f"field '{field}' has no message with content")
    return messages


def answer(value: Any, field: str, path: tuple[str, ...] = ()) -> Answer:
    """What came out.

    Args:
        value: A text, an assistant's message, messages that end in one, or an object with one of them.
        field: The field's name, for the error.
        path: Keys that lead to the text in `value`; none where usual names are to be tried.

    Raises:
        RowError: None of these, several choices, or blank.
    """
    return answer_of(_answer(_follow(value, field, path), field, 0), field)


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


def _chat(value: Any) -> Any:
    """The value of a string that is JSON of messages; any other string is what somebody wrote."""
    content = parsed(value)
    if isinstance(content, dict) and (_CHAT_FIELDS & set(content) or {"role", "content"} <= set(content)):
        return content
    if isinstance(content, list) and content and all(isinstance(entry, dict) and role_of(entry) for entry in content):
        return content
    return value


def _prompt(value: Any, field: str, depth: int) -> list[Message]:
    value = _chat(value)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        # LangChain writes a batch of one conversation.
        entries = value[0] if len(value) == 1 and isinstance(value[0], list) else value
        return [message for entry in entries for message in _messages(entry, field)]
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or messages")
    if role_of(value):
        return _messages(value, field)
    key = _text_key(value, _PROMPT_FIELDS, field, "prompt")
    system = content_text(value.get("system"), field)
    history = [entry for name in _HISTORY_FIELDS for entry in _list(value, name)]
    before = [
        *([{"role": "system", "content": system}] if system else []),
        *(message for entry in history for message in _messages(entry, field)),
    ]
    return before + _prompt(value[key], field, depth + 1)


def _messages(entry: Any, field: str) -> list[Message]:
    """The messages that an entry is.

    Raises:
        RowError: As `read_message` does, and of a user's message without text.
    """
    read = read_message(entry, field)
    if any(message["role"] == "user" and not message["content"] for message in read):
        raise RowError("no_text", f"field '{field}' has a user's message without text")
    return read


def _answer(value: Any, field: str, depth: int) -> Message:
    value = _chat(value)
    if isinstance(value, str):
        return made("assistant", value)
    if isinstance(value, list):
        return _last_answer(value, field, depth)
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or a message")
    if role_of(value):
        return read_message(value, field)[-1]
    if value.get("tool_calls"):
        return read_message({"role": "assistant", **value}, field)[-1]
    return _answer(value[_text_key(value, _ANSWER_FIELDS, field, "completion")], field, depth + 1)


def _last_answer(entries: list[Any], field: str, depth: int) -> Message:
    """The answer that a list holds: its only entry's, or the last message's, with the thoughts and calls beside it."""
    along = [entry for entry in entries if isinstance(entry, dict) and is_beside(entry)]
    others = [entry for entry in entries if entry not in along]
    if along and not others:
        return read_message({"role": "assistant", "content": along}, field)[-1]
    last = _only_answer(others, field, depth)
    if not along:
        return last
    parts = [*along, *([last["content"]] if last["content"] else [])]
    return read_message({**last, "content": parts}, field)[-1]


def _only_answer(entries: list[Any], field: str, depth: int) -> Message:
    if len(entries) == 1:
        return _answer(entries[0], field, depth + 1)
    if not entries or not all(isinstance(entry, dict) and role_of(entry) for entry in entries):
        raise RowError("several_messages", f"field '{field}' lists {len(entries)} answers, not one")
    last = read_message(entries[-1], field)[-1]
    if last["role"] != "assistant":
        raise RowError("unknown_role", f"field '{field}' ends in a message of role '{last['role']}', not of assistant")
    return last


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


def tools_of(value: Any) -> str | None:
    """The tools that stand beside the messages of what went in, as `RawEvent.tools`; None where there are none.

    Raises:
        RowError: They are no list of tools.
    """
    sent = parsed(value)
    return offered_tools(sent.get("tools"), "tools") if isinstance(sent, dict) else None
