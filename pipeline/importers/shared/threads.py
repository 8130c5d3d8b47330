"""Conversations: the messages before an answer in a tree of messages, and the text of a message."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from ...reading.records import RowError
from ..base import Message
from .messages import Answer, made, says_something, spoken


class Turn(NamedTuple):
    """One message of a conversation that may branch.

    Attributes:
        parent: Id of the message that it follows; None for the first.
        role: A member of `roles.ROLES`.
        content: Its text.
        extra: What goes along with it, as `base.Message` has it.
    """

    parent: str | None
    role: str
    content: str
    extra: str | None = None

    def message(self) -> Message:
        """What it says."""
        return made(self.role, self.content, self.extra)


class Answered(NamedTuple):
    """An answer and the messages that lead to it."""

    prompt: list[Message]
    said: Answer


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


def answer_of(turns: Turns, turn_id: str) -> Answered:
    """The messages that lead to an answer, in order and without blank ones, and the answer.

    Raises:
        RowError: The message is no answer or blank; or one on the way is not readable, missing, or its own ancestor.
    """
    answer = turn_of(turns, turn_id)
    if answer.role != "assistant":
        raise RowError("not_an_answer", f"the rated message is of role '{answer.role}', not of assistant")
    if not says_something(answer.message()):
        raise RowError("empty_completion", "the rated message is blank")
    history: list[Message] = []
    seen = {turn_id}
    parent = answer.parent
    while parent is not None:
        if parent in seen:
            raise RowError("broken_history", "a message is its own ancestor")
        seen.add(parent)
        before = turn_of(turns, parent)
        if says_something(before.message()):
            history.append(before.message())
        parent = before.parent
    return Answered(history[::-1], Answer(answer.content, answer.extra))


def turn(parent: str | None, role: str, content: Any, field: str) -> Turn:
    """A message from a text or from a list of parts; its thoughts go along with its text.

    Raises:
        RowError: The content is null, neither of the two, or has a part that is no text, such as an image.
    """
    if content is None:
        raise RowError("missing_field", f"field '{field}' is null or missing")
    return Turn(parent, role, *spoken(content, field))


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
