"""Who says a message: the roles that chat templates know, under the names that logs give them."""

from collections.abc import Mapping
from typing import Any, Final

from ...reading.records import RowError, bounded_label

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# The name of a message that only calls a function, as ShareGPT has it.
FUNCTION_CALL: Final = "function_call"
_NAMES: Final[Mapping[str, str]] = {
    # ShareGPT
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "observation": "tool",
    FUNCTION_CALL: "assistant",
    # Gemini
    "model": "assistant",
    # LangChain
    "ai": "assistant",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "function",
}


def role_of(entry: Mapping[str, Any]) -> Any:
    """What a message states as its role in any of the ways known, else None."""
    for name in ("role", "from"):
        if entry.get(name) is not None:
            return entry[name]
    if isinstance(entry.get("kwargs"), dict) and isinstance(entry.get("id"), list) and entry["id"]:
        return entry["id"][-1]
    kind = entry.get("type")
    return kind if isinstance(kind, str) and (kind in _NAMES or kind in ROLES) else None


def known_role(stated: Any) -> str | None:
    """The role that a name stands for; None where it is unknown."""
    role = _NAMES.get(stated, stated) if isinstance(stated, str) else None
    return role if role in ROLES else None


def message_role(entry: Mapping[str, Any], field: str) -> str:
    """The role of a message.

    Raises:
        RowError: It states none, or an unknown one.
    """
    stated = role_of(entry)
    role = known_role(stated)
    if role is None:
        raise RowError("unknown_role", f"field '{field}' has a message of role {bounded_label(stated)}")
    return role
