"""Messages inside a text: JSON or Python's own writing of a list of them, as spreadsheets hold it."""

import re
from typing import Any, Final

from ...reading.records import RowError
from .embedded import is_cut, literal
from .roles import known_role, role_of

# What begins as messages do: perhaps a bracket, a brace, and the key of a role or of a content; also for polars.
BEGINS: Final = r"""^[\s\x1c-\x1f]*(\[\s*)?\{\s*["'](?:role|content|from|value|tool_calls)["']\s*:"""
_BEGINS: Final = re.compile(BEGINS)
_CONTENTS: Final = ("content", "value", "tool_calls")


def written_messages(text: str, field: str) -> list[dict[str, Any]] | None:
    """The messages that a text is; None where it is what somebody wrote.

    A text is messages only where all of it is one message or a list of them, each with a known role and a content.

    Args:
        text: Any text.
        field: The field's name, for the error.

    Raises:
        RowError: It begins as a list of messages does, and ends before the list does.
    """
    begins = _BEGINS.match(text)
    if begins is None:
        return None
    value = literal(text)
    if isinstance(value, str):
        if begins[1] and is_cut(text):
            raise RowError("cut_messages", f"field '{field}' is a list of messages as text, and its end is missing")
        return None
    entries = value if isinstance(value, list) else [value]
    return entries if entries and all(map(is_message, entries)) else None


def is_message(entry: Any) -> bool:
    """Whether a value is a message: an object with a known role and a content."""
    if not isinstance(entry, dict) or known_role(role_of(entry)) is None:
        return False
    return any(name in entry for name in _CONTENTS)
