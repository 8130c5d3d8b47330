"""Hugging Face's chat-ui: one conversation a row, its messages a tree by `ancestors`, answers scored 1, 0 or -1.

A message without a score was never voted on; a score of 0 is a thumb that its user took back. A conversation from
before trees has no `ancestors`: what stands before an answer is its prompt, after the conversation's `preprompt`.
"""

from typing import Any, Final

from ..reading.records import Options, RowError, Sample
from .base import Events, RawEvent, Row, each
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.mongo import plain_fields
from .shared.threads import Turn, Turns, answer_of, listed, read_turns, turn
from .shared.votes import known_label

_SCORES: Final = {1: "up", -1: "down", 0: "retracted"}
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}
# A row with one of these says there what was good.
_OWN_VERDICT: Final = frozenset(
    {"feedback", "vote", "rating", "label", "kto_tag", "chosen", "rejected", "rejected_response"}
)
_PREPROMPT: Final = "preprompt"


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are conversations whose messages say whom they are from."""
    for record in sample.records:
        messages = record.get("messages")
        if isinstance(messages, list) and messages and isinstance(messages[0], dict):
            if _OWN_VERDICT & record.keys():
                return False
            return {"from", "content"} <= set(messages[0]) and not {"role", "messageId"} & set(messages[0])
    return False


def _events(row: Row, labels: Labels) -> Events:
    conversation = plain_fields(row)
    messages = _messages(conversation)
    turns = read_turns(messages, _turn)
    answers = [message_id for message_id, message in messages.items() if message.get("from") == "assistant"]
    if not answers:
        raise RowError("no_completion", "no answer in the conversation")
    return each(answers, lambda message_id: [_event(conversation, messages[message_id], turns, labels)])


def _messages(conversation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All messages by id, each with its `parent`.

    Raises:
        RowError: There is no list of messages, a message has no id of its own, or `ancestors` is no list of ids.
    """
    entries = [plain_fields(entry) for entry in listed(conversation, "messages")]
    branches = any(entry.get("ancestors") is not None for entry in entries)
    has_system = bool(entries) and entries[0].get("from") == "system"
    if not branches and not has_system and isinstance(conversation.get(_PREPROMPT), str):
        entries = [{"id": _PREPROMPT, "from": "system", "content": conversation[_PREPROMPT]}, *entries]
    messages: dict[str, dict[str, Any]] = {}
    before: str | None = None
    for entry in entries:
        message_id = values.text(entry, "id", empty="missing_field")
        if message_id in messages:
            raise RowError("duplicate_key", "two messages of the conversation have one id")
        messages[message_id] = entry | {"parent": _parent(entry) if branches else before}
        before = message_id
    return messages


def _parent(entry: dict[str, Any]) -> str | None:
    ancestors = entry.get("ancestors") or []
    if not isinstance(ancestors, list) or not all(isinstance(ancestor, str) for ancestor in ancestors):
        raise RowError("wrong_type", "field 'ancestors' is not a list of message ids")
    return ancestors[-1] if ancestors else None


def _turn(message: dict[str, Any]) -> Turn:
    role = known_label(message.get("from"), _ROLES, "from")
    return turn(message["parent"], role, message.get("content"), "content")


def _event(conversation: dict[str, Any], message: dict[str, Any], turns: Turns, labels: Labels) -> RawEvent:
    prompt, said = answer_of(turns, message["id"])
    score = message.get("score")
    return RawEvent(
        source_event_id=message["id"],
        conversation_id=values.identifier(conversation, "_id") or values.identifier(conversation, "id"),
        user_id=values.identifier(conversation, "userId") or values.identifier(conversation, "sessionId"),
        model=values.identifier(conversation, "model"),
        prompt=prompt,
        **said._asdict(),
        vote="unrated" if score is None else known_label(score, labels, "score"),
        created_at=values.time(message, "updatedAt") or values.time(message, "createdAt"),
    )


SPEC: Final = labelled_importer(
    "chat_ui",
    "Hugging Face chat-ui conversations: messages with ancestors, answers scored 1, 0 or -1.",
    detect=detect,
    parse=_events,
    known=_SCORES,
)
