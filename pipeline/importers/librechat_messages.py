"""LibreChat's messages as its data base exports them: one message a row, each with its parent's id.

The messages of a conversation may lie anywhere in the inputs. Every answer is an event, unrated where nobody gave a
thumb; a user's message is only what answers follow.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .librechat import RATINGS, turn_from
from .shared import values
from .shared.joins import Row, Vote, joined_spec, text_or_problem
from .shared.labels import Labels, label_options, labels_of
from .shared.messages import says_something
from .shared.mongo import plain_fields
from .shared.texts import Text, TextIndex
from .shared.threads import nested
from .shared.votes import known_label

NAME: Final = "librechat_messages"
_FIELDS: Final = frozenset({"messageId", "parentMessageId", "conversationId", "isCreatedByUser"})


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether the rows are single messages."""
    return any(row.keys() >= _FIELDS for row in rows)


class _Reader(NamedTuple):
    labels: Labels

    def texts(self, row: Row) -> Iterator[Text]:
        """The row's message, or why it can be neither answer nor prompt."""
        if isinstance(row.get("messageId"), str):
            key = str(row["messageId"])
            yield text_or_problem(key, lambda: _text(key, row))

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote]:
        """The thumb of an answer."""
        message = plain_fields(row)
        message_id = values.text(message, "messageId", empty="missing_field")
        if message.get("isCreatedByUser") is True:
            return
        rating = nested(message, "feedback").get("rating")
        yield Vote(
            about=(message_id,),
            vote="unrated" if rating is None else known_label(rating, self.labels, "feedback.rating"),
            source_event_id=message_id,
            user_id=values.identifier(message, "user"),
            conversation_id=values.identifier(message, "conversationId"),
            created_at=values.time(message, "updatedAt") or values.time(message, "createdAt"),
        )


def _text(key: str, row: Row) -> Text:
    message = plain_fields(row)
    if message.get("error") is True:
        raise RowError("no_completion", "the answer is an error message of the tool")
    turn = turn_from(message)
    # What is blank before an answer is left out of its prompt; a blank answer is rejected as one.
    said = turn.message()
    kept = [said] if says_something(said) or turn.role == "assistant" else []
    return Text(key, kept, parent=turn.parent, model=values.identifier(message, "model"))


SPEC: Final = joined_spec(
    NAME,
    "LibreChat's messages as rows of its data base, each with its parent: feedback thumbsUp or thumbsDown.",
    detect,
    lambda options: _Reader(labels_of(options, RATINGS)),
    label_options(RATINGS),
)
