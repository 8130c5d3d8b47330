"""ConvAI2's volunteers: an array of dialogs between a person and a bot, single bot messages rated 1 or 0.

Every bot message is an event. What stands before it in the dialog is its prompt: the person's messages are the
user's, the bot's are the assistant's. Several messages in a row by the same side become one, joined by a line break,
since chat templates expect the sides to take turns. A bot's opener has an empty prompt, and a bot message right after
another has a prompt that ends with the assistant. The log has no time of a vote: the dialog's end stands for it, and
as the log names no zone, it is taken as UTC. A dialog is named by the digest of its content.
"""

from typing import Any, Final

from ..reading.records import RowError, bounded_label
from ..storage.digests import digest_json
from .base import Events, Message, RawEvent, Row, each, has_columns
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.votes import known_label

_ROLES: Final = {"Human": "user", "Bot": "assistant"}
_SCORES: Final = {1: "up", 0: "down"}


def _events(dialog: Row, labels: Labels) -> Events:
    conversation_id = digest_json(dialog)
    user_id, model = _participant(dialog, "User"), _participant(dialog, "Bot")
    created_at = values.time(dialog, "end_time")
    history: list[Message] = []
    entries = list(enumerate(_entries(dialog)))
    if not any(entry["role"] == "assistant" for _, entry in entries):
        raise RowError("no_completion", "no bot message in the dialog")

    def answer(numbered: tuple[int, dict[str, Any]]) -> Events:
        number, entry = numbered
        if entry["role"] == "assistant":
            yield RawEvent(
                source_event_id=f"{conversation_id}:{number}",
                conversation_id=conversation_id,
                user_id=user_id,
                model=model,
                prompt=[dict(message) for message in history],
                completion=values.text({"text": entry["content"]}, "text", empty="empty_completion"),
                vote=_vote(entry["score"], number, labels),
                created_at=created_at,
            )

    for numbered in entries:
        yield from each([numbered], answer)
        _append(history, numbered[1]["role"], numbered[1]["content"])


def _participant(dialog: dict[str, Any], kind: str) -> str | None:
    """The id of the dialog's first participant of a class."""
    for field in ("participant1_id", "participant2_id"):
        participant = values.present(dialog, field)
        if not isinstance(participant, dict):
            raise RowError("wrong_type", f"field '{field}' is a {type(participant).__name__}, not an object")
        if participant.get("class") == kind:
            return values.identifier(participant, "user_id")
    raise RowError("missing_field", f"no participant of class {kind}")


def _entries(dialog: dict[str, Any]) -> list[dict[str, Any]]:
    """The dialog's messages, all checked before the first is used: each is part of the prompts after it."""
    messages = values.present(dialog, "dialog")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RowError("wrong_type", "field 'dialog' is not a list of messages")
    return [_entry(message) for message in messages]


def _entry(message: dict[str, Any]) -> dict[str, Any]:
    sender = values.present(message, "sender_class")
    role = _ROLES.get(sender) if isinstance(sender, str) else None
    if role is None:
        raise RowError("unknown_role", f"sender_class is {bounded_label(sender)}")
    content = values.present(message, "text")
    if not isinstance(content, str):
        raise RowError("wrong_type", f"field 'text' is a {type(content).__name__}, not a text")
    return {"role": role, "content": content, "score": message.get("evaluation_score")}


def _vote(score: Any, number: int, labels: Labels) -> str:
    return "unrated" if score is None else known_label(score, labels, f"evaluation_score of message {number}")


def _append(history: list[Message], role: str, content: str) -> None:
    if not content.strip():
        return
    if history and history[-1]["role"] == role:
        history[-1]["content"] += "\n" + content
    else:
        history.append({"role": role, "content": content})


SPEC: Final = labelled_importer(
    "convai2",
    "ConvAI2 dialogs of volunteers with bots; single bot messages rated 1 (up) or 0 (down).",
    detect=has_columns({"dialog", "participant1_id", "participant2_id"}),
    parse=_events,
    known=_SCORES,
)
