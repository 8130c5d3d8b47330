"""Thoughts as trainers write them that have no field for them: before the text, in the tags that models use."""

from ...tables import REASONING
from ..rows import Message
from .base import CannotTakeError
from .checks import reasoning_of

_KNOWN = ("role", "content", "tool_calls", "tool_call_id", *REASONING)


def thinking_text(message: Message) -> str:
    """The text of a message, its thoughts before it in `<think>`.

    Raises:
        CannotTakeError: The message carries what no text holds: `message_key`.
    """
    more = sorted(key for key, value in message.items() if value and key not in _KNOWN)
    if more:
        raise CannotTakeError("message_key", f"a turn carries '{more[0]}', for which there is no field")
    thoughts = reasoning_of(message)
    text: str = message["content"]
    return f"<think>\n{thoughts}\n</think>\n\n{text}" if thoughts else text
