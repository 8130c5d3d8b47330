"""Rules that several targets state of messages: each gives the messages that pass, or says why a row does not."""

from itertools import pairwise
from typing import Any, Final, NamedTuple

from ...tables import REASONING
from ..rows import Message, Pair
from .base import CannotTakeError

_TOOL_KEYS: Final = ("tool_calls", "tool_call_id")


class Conversation(NamedTuple):
    """A prompt as most services have it.

    Attributes:
        system: The text of the first turn where it is the system's; None where there is none.
        turns: The other messages.
    """

    system: str | None
    turns: list[Message]


def reasoning_of(message: Message) -> str:
    """The thoughts that a message carries; empty where it carries none."""
    found = [message[key] for key in REASONING if message.get(key)]
    if any(not isinstance(text, str) for text in found) or len(set(map(str, found))) > 1:
        raise CannotTakeError("reasoning", "the thoughts are no single text")
    return found[0] if found else ""


def without_reasoning(message: Message) -> Message:
    """The message, where it carries no thoughts.

    Raises:
        CannotTakeError: It does: `reasoning`.
    """
    if reasoning_of(message):
        raise CannotTakeError(
            "reasoning", f"a turn of '{message['role']}' carries thoughts, for which there is no field"
        )
    return {key: value for key, value in message.items() if key not in REASONING}


def text_alone(message: Message) -> Message:
    """The message as role and content, where that is all that it is.

    Raises:
        CannotTakeError: It is blank (`empty_message`), or carries more: `tools`, `reasoning` or `message_key`.
    """
    if message["role"] == "tool" or any(message.get(key) for key in _TOOL_KEYS):
        raise CannotTakeError("tools", "a turn calls a tool or gives its result")
    more = sorted(key for key, value in without_reasoning(message).items() if value and key not in ("role", "content"))
    if more:
        raise CannotTakeError("message_key", f"a turn carries '{more[0]}', for which there is no field")
    if not message["content"].strip():
        raise CannotTakeError("empty_message", f"a turn of '{message['role']}' has no text")
    return {"role": message["role"], "content": message["content"]}


def without_tools(tools: list[Any]) -> None:
    """Nothing, where no tools were offered.

    Raises:
        CannotTakeError: There were: `tools`.
    """
    if tools:
        raise CannotTakeError("tools", f"{len(tools)} tools were offered with the prompt, for which there is no field")


def text_pair(row: Pair) -> Pair:
    """A pair of texts alone; see `text_alone`."""
    without_tools(row.tools)
    return Pair([text_alone(m) for m in row.prompt], [], text_alone(row.chosen), text_alone(row.rejected))


def conversation(messages: list[Message]) -> Conversation:
    """The system's text apart from the other turns.

    Raises:
        CannotTakeError: A later turn is the system's (`system_turn_later`), or there is no other turn (`last_turn`).
    """
    is_first = messages[0]["role"] == "system"
    turns = messages[1:] if is_first else messages
    if any(message["role"] == "system" for message in turns):
        raise CannotTakeError("system_turn_later", "a turn of 'system' is not the first")
    if not turns:
        raise CannotTakeError("last_turn", "the prompt has no turn but the system's")
    return Conversation(messages[0]["content"] if is_first else None, turns)


def of_roles(messages: list[Message], roles: tuple[str, ...]) -> None:
    """Nothing, where every turn is of one of `roles`.

    Raises:
        CannotTakeError: One is not: `role`.
    """
    for message in messages:
        if message["role"] not in roles:
            raise CannotTakeError("role", f"a turn of '{message['role']}'; taken are {', '.join(roles)}")


def alternating(turns: list[Message]) -> None:
    """Nothing, where no two turns in a row are of one role.

    Raises:
        CannotTakeError: Two are: `roles_do_not_alternate`.
    """
    for before, after in pairwise(turns):
        if before["role"] == after["role"]:
            raise CannotTakeError("roles_do_not_alternate", f"two turns of '{after['role']}' in a row")


def ends_with(turns: list[Message], *roles: str) -> None:
    """Nothing, where the last turn is of one of `roles`.

    Raises:
        CannotTakeError: It is not: `last_turn`.
    """
    if turns[-1]["role"] not in roles:
        raise CannotTakeError("last_turn", f"the prompt ends with a turn of '{turns[-1]['role']}'")


def begins_with(turns: list[Message], role: str) -> None:
    """Nothing, where the first turn is of `role`.

    Raises:
        CannotTakeError: It is not: `first_turn`.
    """
    if turns[0]["role"] != role:
        raise CannotTakeError("first_turn", f"the prompt begins with a turn of '{turns[0]['role']}'")
