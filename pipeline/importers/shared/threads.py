"""Conversations: the messages before an answer in a tree of messages, and the text of a message."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from ...reading.records import RowError, bounded_label
from ..base import Message

# Parts that hold what a model thought before it answered: not the answer, nor part of later prompts.
_THOUGHTS: Final = ("think", "thinking", "reasoning")


class Turn(NamedTuple):
    """One message of a conversation that may branch.

    Attributes:
        parent: Id of the message that it follows; None for the first.
        role: A member of `values.ROLES`.
        content: Its text.
    """

    parent: str | None
    role: str
    content: str


Turns = Mapping[str, Turn | RowError]
_Message = TypeVar("_Message")


def read_turns(messages: Mapping[str, _Message], read: Callable[[_Message], Turn]) -> dict[str, Turn | RowError]:
    """Every message as a turn, or why it is none: a bad message costs the answers that follow it, and no other."""
    turns: dict[str, Turn | RowError] = {}
    for message_id, message in messages.items():
        try:
            turns[message_id] = read(message)
        except RowError as error:
            turns[message_id] = error
    return turns


def turn_of(turns: Turns, turn_id: str) -> Turn:
    """One message.

    Raises:
        RowError: It is not there, or is not readable.
    """
    turn = turns.get(turn_id)
    if turn is None:
        raise RowError("broken_history", "a message that others refer to is not in the conversation")
    if isinstance(turn, RowError):
        raise turn
    return turn


def answer_of(turns: Turns, turn_id: str) -> tuple[list[Message], str]:
    """The messages that lead to an answer, in order and without blank ones, and the answer.

    Raises:
        RowError: The message is no answer or blank; or one on the way is not readable, missing, or its own ancestor.
    """
    answer = turn_of(turns, turn_id)
    if answer.role != "assistant":
        raise RowError("not_an_answer", f"the rated message is of role '{answer.role}', not of assistant")
    if not answer.content.strip():
        raise RowError("empty_completion", "the rated message is blank")
    history: list[Message] = []
    seen = {turn_id}
    parent = answer.parent
    while parent is not None:
        if parent in seen:
            raise RowError("broken_history", "a message is its own ancestor")
        seen.add(parent)
        turn = turn_of(turns, parent)
        if turn.content.strip():
            history.append({"role": turn.role, "content": turn.content})
        parent = turn.parent
    return history[::-1], answer.content


def plain_text(value: Any, field: str) -> str:
    """A message's text, from a text or from a list of text parts, which are joined by line breaks.

    Raises:
        RowError: Null, neither of the two, or a part that is no text, such as an image.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise RowError("missing_field", f"field '{field}' is null or missing")
    if not isinstance(value, list):
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or a list of parts")
    return "\n".join(text for part in value if (text := _part_text(part, field)) is not None)


def _part_text(part: Any, field: str) -> str | None:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _THOUGHTS:
        return None
    content = part.get("text") if isinstance(part, dict) and kind == "text" else None
    if isinstance(content, dict):
        content = content.get("value")
    if not isinstance(content, str):
        shown = bounded_label(kind) if kind is not None else f"a {type(part).__name__}"
        raise RowError("unsupported_content", f"field '{field}' has a part of type {shown}, not a text")
    return content


def listed(record: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    """A field that is a list of objects.

    Raises:
        RowError: It is missing, null, or something else.
    """
    value = record.get(field)
    if value is None:
        raise RowError("missing_field", f"field '{field}' is {'null' if field in record else 'missing'}")
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise RowError("wrong_type", f"field '{field}' is not a list of objects")
    return value


def nested(record: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A field that is an object; an empty one where it is null or missing.

    Raises:
        RowError: It is something else.
    """
    value = record.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not an object")
    return value
