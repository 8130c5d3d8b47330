"""LibreChat's conversation export: messages with parents, answers with a thumb.

All three shapes of the export are read: the messages in a flat list, or in a tree as `messagesTree` or by `children`.
An answer without feedback is unrated. The tag that a user picked says why and is not a vote, so any tag is let pass.
"""

from typing import Any, Final

from ..reading.records import Options, RowError, Sample
from .base import Events, RawEvent, Row, each
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.mongo import plain_fields
from .shared.threads import Turn, Turns, answer_of, listed, nested, read_turns, turn
from .shared.votes import known_label

RATINGS: Final = {"thumbsUp": "up", "thumbsDown": "down"}
# The tool's own mark of a message without a parent.
_NO_PARENT: Final = "00000000-0000-0000-0000-000000000000"


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are conversations whose messages have LibreChat's ids."""
    for record in sample.records:
        messages = record.get("messages") or record.get("messagesTree")
        if "conversationId" in record and isinstance(messages, list) and messages:
            return isinstance(messages[0], dict) and "messageId" in messages[0]
    return False


def _events(row: Row, labels: Labels) -> Events:
    conversation = plain_fields(row)
    messages = _messages(conversation)
    turns = read_turns(messages, turn_from)
    answers = [message_id for message_id, message in messages.items() if message.get("isCreatedByUser") is not True]
    if not answers:
        raise RowError("no_completion", "no answer in the conversation")
    return each(answers, lambda message_id: [_event(conversation, messages[message_id], turns, labels)])


def _messages(conversation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All messages by id, those nested in others too.

    Raises:
        RowError: There is no list of messages, or a message has no id of its own.
    """
    waiting = listed(conversation, "messagesTree" if "messagesTree" in conversation else "messages")[::-1]
    messages: dict[str, dict[str, Any]] = {}
    while waiting:
        message = plain_fields(waiting.pop())
        message_id = values.text(message, "messageId", empty="missing_field")
        if message_id in messages:
            raise RowError("duplicate_key", "two messages of the conversation have one messageId")
        messages[message_id] = message
        if message.get("children"):
            waiting.extend(reversed(listed(message, "children")))
    return messages


def turn_from(message: dict[str, Any]) -> Turn:
    """One message and what it follows.

    Raises:
        RowError: It does not say whose it is, or has no text.
    """
    by_user = message.get("isCreatedByUser")
    if not isinstance(by_user, bool):
        raise RowError("wrong_type", f"field 'isCreatedByUser' is a {type(by_user).__name__}, not true or false")
    # Agents answer in parts and leave the text blank.
    content = message.get("text") or message.get("content")
    parent = values.identifier(message, "parentMessageId")
    role = "user" if by_user else "assistant"
    return turn(None if parent == _NO_PARENT else parent, role, content, "text")


def _event(conversation: dict[str, Any], message: dict[str, Any], turns: Turns, labels: Labels) -> RawEvent:
    if message.get("error") is True:
        raise RowError("no_completion", "the answer is an error message of the tool")
    message_id = message["messageId"]
    prompt, said = answer_of(turns, message_id)
    rating = nested(message, "feedback").get("rating")
    return RawEvent(
        source_event_id=message_id,
        conversation_id=values.identifier(conversation, "conversationId"),
        user_id=values.identifier(message, "user") or values.identifier(conversation, "user"),
        model=values.identifier(message, "model") or values.identifier(nested(conversation, "options"), "model"),
        prompt=prompt,
        **said._asdict(),
        vote="unrated" if rating is None else known_label(rating, labels, "feedback.rating"),
        created_at=values.time(message, "updatedAt") or values.time(message, "createdAt"),
    )


SPEC: Final = labelled_importer(
    "librechat",
    "LibreChat conversation export (flat or recursive): answers with feedback thumbsUp or thumbsDown.",
    detect=detect,
    parse=_events,
    known=RATINGS,
)
