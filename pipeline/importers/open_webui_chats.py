"""Open WebUI's chats: messages by id, each after the one that it answers, and the system prompt of a chat."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .base import RawEvent, Row
from .open_webui_details import DETAILS, messages_of
from .shared import values
from .shared.embedded import parsed
from .shared.messages import read_message
from .shared.roles import ROLES
from .shared.threads import Answered, Turn, Turns, answer_of, nested, turn, turn_of
from .shared.votes import compared, known_label

_ROLES: Final = {role: role for role in sorted(ROLES)}


class Chat(NamedTuple):
    """One chat with all its branches.

    Attributes:
        messages: By id.
        turns: The same as what was said and what it follows.
        system: The chat's own system prompt; empty where it has none.
    """

    messages: dict[str, dict[str, Any]]
    turns: Turns
    system: str


def is_chat(row: Row) -> bool:
    """Whether a row is an exported chat."""
    inner = parsed(row.get("chat"))
    return isinstance(inner, dict) and bool({"history", "messages"} & inner.keys())


def chat_of(outer: dict[str, Any]) -> Chat:
    """The chat in an exported row, in a feedback's snapshot, or by itself.

    Raises:
        RowError: It is not of the form of a chat, or holds no messages.
    """
    inner = outer if "history" in outer or "messages" in outer else nested({"chat": parsed(outer.get("chat"))}, "chat")
    messages = nested(nested(inner, "history"), "messages")
    if not messages and isinstance(inner.get("messages"), list):
        messages = {str(message.get("id")): message for message in inner["messages"] if isinstance(message, dict)}
    messages = {message_id: message for message_id, message in messages.items() if isinstance(message, dict)}
    if not messages:
        raise RowError("no_text", "the chat holds no messages")
    stated = nested(inner, "params").get("system") or inner.get("system")
    return Chat(messages, _turns(messages), stated if isinstance(stated, str) else "")


def _turns(messages: dict[str, dict[str, Any]]) -> dict[str, Turn | RowError]:
    """Every message as a turn, or as several, or why it is none."""
    turns: dict[str, Turn | RowError] = {}
    for message_id, message in messages.items():
        try:
            turns |= _turns_of(message_id, message)
        except RowError as error:
            turns[message_id] = error
    return turns


def _turns_of(message_id: str, message: dict[str, Any]) -> dict[str, Turn]:
    """The turn of a message; where it called tools one a call and one a result, and its own the last of them."""
    role = known_label(message.get("role"), _ROLES, "role")
    parent, content = values.identifier(message, "parentId"), message.get("content")
    if role != "assistant" or not isinstance(content, str) or DETAILS not in content:
        return {message_id: turn(parent, role, content, "content")}
    parts = [part for entry in messages_of(content) for part in read_message(entry, "content")]
    names = [*(f"{message_id}/{number}" for number in range(1, len(parts))), message_id]
    return {
        name: Turn(before, part["role"], part["content"], part.get("extra"))
        for name, before, part in zip(names, [parent, *names], parts, strict=False)
    }


def answered(found: Chat, message_id: str) -> Answered:
    """The messages that lead to an answer, the system prompt first, and the answer.

    Raises:
        RowError: The chat does not hold it, or it is no answer, or one before it cannot be read.
    """
    if message_id not in found.messages:
        raise RowError("missing_answer", "the chat does not hold the rated message")
    prompt, said = answer_of(found.turns, message_id)
    if found.system.strip() and not any(message["role"] == "system" for message in prompt):
        prompt = [{"role": "system", "content": found.system}, *prompt]
    return Answered(prompt, said)


def siblings(found: Chat, message_id: str) -> dict[str, str | None]:
    """The other answers to the message that one answer follows, and their models."""
    turn_of(found.turns, message_id)
    parent = values.identifier(found.messages[message_id], "parentId")
    return {
        other: model_of(message)
        for other, message in found.messages.items()
        if parent is not None and other != message_id and message.get("parentId") == parent
    }


def model_of(message: dict[str, Any]) -> str | None:
    """Which model answered: in an arena, the one that was drawn and not the arena's own name."""
    return values.identifier(message, "selectedModelId") or values.identifier(message, "model")


class Told(NamedTuple):
    """Whose vote it is: what an event has beside its texts; the fields are those of `RawEvent`."""

    source_event_id: str | None
    conversation_id: str | None
    user_id: str | None
    created_at: datetime | None

    @classmethod
    def of_feedback(cls, row: Row) -> "Told":
        """Whose vote a feedback is."""
        chat_id = values.identifier(nested(row, "meta"), "chat_id")
        at = values.time(row, "updated_at") or values.time(row, "created_at")
        return cls(values.identifier(row, "id"), chat_id, values.identifier(row, "user_id"), at)


def event_of(found: Chat, message_id: str, told: Told) -> RawEvent:
    """An answer's event before its vote.

    Raises:
        RowError: As in `answered`.
    """
    prompt, said = answered(found, message_id)
    return RawEvent(prompt, **said._asdict(), model=model_of(found.messages[message_id]), **told._asdict())


def against(found: Chat, other_id: str, rated: RawEvent, vote: str) -> list[RawEvent]:
    """The comparison of a rated answer, up or down, with a sibling.

    Raises:
        RowError: The sibling cannot be read, or is the same text.
    """
    name = f"{rated.source_event_id}/{other_id}"
    told = Told(name, rated.conversation_id, rated.user_id, rated.created_at)
    other = event_of(found, other_id, told)
    kind = "arena" if other.model != rated.model else "regenerate"
    return compared(rated._replace(source_event_id=name), other, "first" if vote == "up" else "second", kind)
