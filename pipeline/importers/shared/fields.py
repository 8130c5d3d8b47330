"""The fields of a product log: the usual names of their columns, and what each of them holds."""

from collections.abc import Mapping
from typing import Final

from . import prompts, signals
from .calls import TOOLS

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt", "question", "instruction", "input", "query", *prompts.CONVERSATIONS),
    "completion": ("completion", "response", "answer", "output", "reply"),
    "vote": ("feedback", "vote", "rating", "thumb", "thumbs", "reaction"),
}
OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "event_id": ("event_id", "feedback_id", "id"),
    "created_at": ("timestamp", "created_at", "createdAt", "time"),
    "conversation_id": ("conversation_id", "chat_id", "thread_id", "session_id"),
    "user_id": ("user_id", "user"),
    "model": ("model", "model_name", "model_id"),
    "input": prompts.FOLLOW_NAMES,
    "system": prompts.SYSTEM_NAMES,
    "history": prompts.HISTORY_NAMES,
    "tools": (TOOLS,),
    **signals.COLUMNS,
}
NAMES: Final = {**REQUIRED, **OPTIONAL}
# A usual column's name is easily taken for the option that states another column in its place.
OPTION_OF: Final[Mapping[str, str]] = {column: name for name, columns in NAMES.items() for column in columns}
# What the option '' says to be nowhere in the log, although a column has a usual name.
LEAVABLE: Final = OPTIONAL.keys() - signals.COLUMNS.keys()
_HELD: Final[Mapping[str, str]] = {
    "prompt": "what was asked: a text, or messages",
    "completion": "the answer: a text, or one message",
    "vote": "the vote on the answer",
    "event_id": "the log's own id of the row",
    "created_at": "the time of the vote",
    "conversation_id": "the conversation's id",
    "user_id": "the voter's id, which is hashed before it is written",
    "model": "the name of what answered",
    "input": "a text that follows the prompt's",
    "system": "the system text",
    "history": "earlier turns: messages, or pairs of texts",
    "tools": "the tools that were offered with the prompt",
    "comparison_id": "the id that both sides of a comparison share",
    "comparison_kind": "what stands behind a comparison",
    "propensity": "the chance that the answer was shown, in (0, 1]",
    "position": "the answer's place among those shown together, from 1",
    "copied": "true where the user copied the answer",
    "regenerated": "true where the user asked for another answer",
    "edited": "the better answer that the user wrote",
    "regenerated_from": "the id of the row whose answer this one replaced",
}


def _meaning(name: str) -> str:
    names = NAMES[name]
    usual = names[0] if len(names) == 1 else f"the first of: {', '.join(names)}"
    return f"Column of {_HELD[name]}; else {usual}{'; empty: none' if name in LEAVABLE else ''}."


OPTIONS: Final[Mapping[str, str]] = {name: _meaning(name) for name in NAMES}
