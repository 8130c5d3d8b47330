"""Opik: feedback scores of traces and spans, one vote an author where a score says what each author gave.

A score is a number; its category's name is a label. So a thumb is known by its category, or its scale must be stated.
A score's `value` is the mean over its authors and is not looked at where the authors are listed. Scores of online
evaluation are no person's.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from ..reading.remarks import remade
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, text_or_problem
from .shared.texts import Text, TextIndex

NAME: Final = "opik"
_HUMAN: Final = ("ui", "sdk", None)


def _is_trace(row: Row) -> bool:
    return row.keys() >= {"id", "input", "output", "feedback_scores"}


def _is_score(row: Row) -> bool:
    return row.keys() >= {"id", "name", "value", "source", "project_name"} and "input" not in row


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a trace or a span with its scores, or a score of its own."""
    return any(_is_trace(row) or _is_score(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        if _is_trace(row):
            key = f"{row.get('id')}"
            yield text_or_problem(key, lambda: self._text(key, row))

    def _text(self, key: str, row: Row) -> Text:
        sides = [parsed(row.get(name)) for name in ("input", "output")]
        return Text(
            key,
            self.settings.messages(sides[0], sides[1], ("input", "output")),
            conversation=values.identifier(row, "thread_id"),
            model=values.identifier(row, "model"),
            tools=chat.tools_of(sides[0]),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if _is_score(row):
            yield from self._votes(row, row)
        elif _is_trace(row):
            listed = parsed(row.get("feedback_scores"))
            for score in listed if isinstance(listed, list) else []:
                if isinstance(score, dict):
                    yield from self._votes(row, score)

    def _votes(self, row: Row, score: Row) -> Iterator[Vote | RowError]:
        authors = score.get("value_by_author")
        given_by = list(authors.items()) if isinstance(authors, dict) else []
        for author, given in given_by or [(score.get("created_by"), score)]:
            try:
                yield self._vote(row, _given_by(score, given) if isinstance(given, dict) else {}, author)
            except RowError as error:
                yield error

    def _vote(self, row: Row, score: Row, author: Any) -> Vote:
        self.settings.check_name(score.get("name"))
        self.settings.check_human(score.get("source") in _HUMAN, score.get("source"))
        trace = values.identifier(row, "id")
        if trace is None:
            raise RowError("missing_field", "field 'id' is null")
        return Vote(
            about=(trace,),
            vote=self.settings.vote(score, "category_name", "value"),
            user_id=values.identifier({"created_by": author}, "created_by"),
            created_at=values.time(score, "last_updated_at") or values.time(score, "created_at"),
        )


def _given_by(score: Row, given: Row) -> Row:
    """A score as one of its authors gave it."""
    if given is score:
        return score
    row = remade(score, lambda name, value: (name, value))
    row.update(given)
    return row


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Opik: traces and spans with their feedback scores.",
    detect,
    lambda options: _Reader(feedback.settings(options)),
    {**feedback.NAME_OPTION, **feedback.ANNOTATOR_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
