"""GPT4All's datalake: one conversation a row, answers rated positive or negative, or edited by their user.

An edit is a comparison too: the user's text is chosen over the model's. Later answers were made after the model's own
text, so that stays in their prompts.
"""

from functools import partial
from typing import Any, Final

from ..reading.records import Options, RowError, Sample
from ..storage.digests import digest_json
from .base import Events, Message, RawEvent, Row, each
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.threads import listed
from .shared.votes import compared, known_label

_RATINGS: Final = {"positive": "up", "negative": "down"}
_SAID_OF: Final = frozenset({"rating", "edited_content"})
_DATALAKE: Final = frozenset({"ingest_id", "agent_id", "submitter_id"})
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are conversations of the datalake, or have messages that were rated or edited as its are."""
    kept = [row for row in sample.records if isinstance(row.get("conversation"), list)]
    messages = [message for row in kept for message in row["conversation"] if isinstance(message, dict)]
    own = any(_DATALAKE & row.keys() for row in kept) or any(_SAID_OF & message.keys() for message in messages)
    return own and bool(messages) and {"role", "content"} <= messages[0].keys()


def _events(row: Row, labels: Labels) -> Events:
    messages = [_checked(message) for message in listed(row, "conversation")]
    conversation_id = values.identifier(row, "ingest_id") or digest_json(messages)
    if not any(message["role"] == "assistant" for message in messages):
        raise RowError("no_completion", "no answer in the conversation")
    history: list[Message] = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            yield from each([message], partial(_answer, row, f"{conversation_id}:{number}", list(history), labels))
        if message["content"].strip():
            history.append({"role": message["role"], "content": message["content"]})


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    content = values.present(message, "content")
    if not isinstance(content, str):
        raise RowError("wrong_type", f"field 'content' is a {type(content).__name__}, not a text")
    return message | {"role": known_label(message.get("role"), _ROLES, "role")}


def _answer(row: Row, name: str, prompt: list[Message], labels: Labels, message: dict[str, Any]) -> Events:
    rating = message.get("rating")
    event = RawEvent(
        source_event_id=name,
        conversation_id=name.rpartition(":")[0],
        user_id=values.identifier(row, "submitter_id"),
        model=values.identifier(row, "agent_id"),
        prompt=prompt,
        completion=values.text(message, "content", empty="empty_completion"),
        created_at=values.time(row, "ingest_timestamp"),
    )
    try:
        yield event._replace(vote="unrated" if rating is None else known_label(rating, labels, "rating"))
    except RowError as error:
        yield error
    if message.get("edited_content") is not None:
        # What a user wrote is of no model.
        edited = values.text(message, "edited_content", empty="empty_completion")
        if edited != event.completion:
            event = event._replace(source_event_id=f"{name}/edit")
            yield from compared(event._replace(completion=edited, model=None), event, "first", "edit")


SPEC: Final = labelled_importer(
    "gpt4all",
    "GPT4All datalake conversations: answers rated positive or negative, edits chosen over what they edit.",
    detect=detect,
    parse=_events,
    known=_RATINGS,
)
