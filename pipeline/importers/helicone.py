"""Helicone: ratings, true or false, in the exported requests themselves or in a log of the feedback calls.

A request without a rating is no event. Bodies are those of the provider's own API; exports as CSV hold them as
JSON texts.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, text_or_problem
from .shared.texts import Text, TextIndex

NAME: Final = "helicone"
_IDS: Final = ("requestId", "request_id", "helicone-id", "heliconeId")
# A log that has these beside a rating is somebody's own log, with its text beside the vote.
_OWN_TEXT: Final = frozenset({"prompt", "question", "input", "query", "messages"})


def _is_request(row: Row) -> bool:
    return row.keys() >= {"request_id", "request_body", "response_body"}


def _is_feedback(row: Row) -> bool:
    return "rating" in row and any(name in row for name in _IDS) and not (_OWN_TEXT & row.keys())


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a request or the rating of one."""
    return any(_is_request(row) or _is_feedback(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        if _is_request(row):
            key = f"{row['request_id']}"
            yield text_or_problem(key, lambda: self._text(key, row))

    def _text(self, key: str, row: Row) -> Text:
        sides = [parsed(row.get(name)) for name in ("request_body", "response_body")]
        properties = parsed(row.get("request_properties"))
        return Text(
            key,
            self.settings.messages(sides[0], sides[1], ("request_body", "response_body")),
            conversation=values.identifier(properties if isinstance(properties, dict) else {}, "Helicone-Session-Id"),
            user_id=values.identifier(row, "request_user_id"),
            model=values.identifier(row, "response_model") or values.identifier(row, "request_model"),
            tools=chat.tools_of(sides[0]),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if _is_request(row):
            if row.get("feedback_rating") is not None:
                yield self._vote(row, "feedback_rating", "feedback_id", "feedback_created_at")
        elif _is_feedback(row):
            yield self._vote(row, "rating", "id", "created_at")

    def _vote(self, row: Row, rating: str, identity: str, time: str) -> Vote:
        named = [value for value in (values.link(row, name) for name in _IDS) if value is not None]
        if not named:
            raise RowError("missing_field", "the rating names no request")
        return Vote(
            about=(named[0],),
            vote=self.settings.vote(row, rating),
            source_event_id=values.identifier(row, identity),
            created_at=values.time(row, time),
        )


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Helicone: exported requests with their ratings, or a log of the feedback calls beside them (JSON, JSONL, CSV).",
    detect,
    lambda options: _Reader(feedback.settings(options, names=None)),
    {**feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
