"""PostHog: thumb surveys joined with generations by trace id. A thumb up is 1 and a thumb DOWN IS 2.

A survey sends one event a question, and all events of a submission have its id: of its ratings the last counts. A
survey in which any rating is neither 1 nor 2 has another scale, where 1 would be the worst, and none of its ratings is
taken unless the options state what they mean. A trace of several generations is nobody's guess; the option
`answer: last` takes the last of them.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..errors import ConfigError
from ..reading.records import Options, RowError
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.calls import offered_tools
from .shared.embedded import parsed
from .shared.joins import Row, Vote, micros, text_or_problem
from .shared.texts import Mark, Text, TextIndex

NAME: Final = "posthog"
_THUMBS: Final = {"1": "up", "2": "down"}
_SENT: Final = "survey sent"
_GENERATION: Final = "$ai_generation"
_RESPONSE: Final = "$survey_response"


def _properties(row: Row) -> dict[str, Any]:
    return chat.object_of(row.get("properties"))


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is an event of a survey or of a generation."""
    return any(row.get("event") in (_SENT, _GENERATION) and "properties" in row for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings
    question: str | None
    last: bool
    scale_stated: bool

    def texts(self, row: Row) -> Iterator[Text | Mark]:
        properties = _properties(row)
        if row.get("event") == _GENERATION and properties.get("$ai_trace_id") is not None:
            key = f"{properties['$ai_trace_id']}"
            rank = (micros(row, "timestamp") or 0) if self.last else 0
            yield text_or_problem(key, lambda: self._text(key, row, properties))._replace(rank=rank)
        elif row.get("event") == _SENT:
            rated = self._rated(properties)
            for field in rated:
                if feedback.is_number(properties[field]) and float(properties[field]) not in (1.0, 2.0):
                    yield Mark(_scale(properties, field), "another")
            if rated:
                yield Mark(_submission(row, properties), _event_id(row), micros(row, "timestamp") or 0)

    def _text(self, key: str, row: Row, properties: Row) -> Text:
        went_in, came_out = (parsed(properties.get(name)) for name in ("$ai_input", "$ai_output_choices"))
        return Text(
            key,
            self.settings.messages(went_in, came_out, ("$ai_input", "$ai_output_choices")),
            conversation=values.identifier(properties, "$ai_session_id"),
            user_id=values.identifier(row, "distinct_id"),
            model=values.identifier(properties, "$ai_model"),
            tools=offered_tools(properties.get("$ai_tools"), "$ai_tools"),
        )

    def _rated(self, properties: Row) -> list[str]:
        """The properties that hold a rating, or a label that is a vote."""
        if self.question is not None:
            fields = [f"{_RESPONSE}_{self.question}"]
        else:
            fields = [name for name in properties if name == _RESPONSE or name.startswith(f"{_RESPONSE}_")]
        return [field for field in fields if self._is_rating(properties, field)]

    def _is_rating(self, properties: Row, field: str) -> bool:
        if feedback.is_number(properties.get(field)):
            return True
        try:
            return properties.get(field) is not None and bool(self.settings.vote(properties, field))
        except RowError:
            return False

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        properties = _properties(row)
        if row.get("event") != _SENT:
            return
        field = self._field(properties)
        trace = values.identifier(properties, "$ai_trace_id")
        if trace is None:
            raise RowError("not_an_answer", "the survey's event names no trace")
        if index.mark(_submission(row, properties)) != _event_id(row):
            raise RowError("overridden", "a later event of the same submission takes its place")
        vote = self.settings.vote(properties, field)
        if not self.scale_stated and index.mark(_scale(properties, field)) is not None:
            raise RowError(
                "unknown_scale", "the survey has ratings beside 1 and 2; state its scale: options up and down"
            )
        yield Vote(
            about=(trace,),
            vote=vote,
            source_event_id=values.identifier(properties, "$survey_submission_id") or values.identifier(row, "uuid"),
            user_id=values.identifier(row, "distinct_id"),
            created_at=values.time(row, "timestamp"),
        )

    def _field(self, properties: Row) -> str:
        """The property that is the thumb.

        Raises:
            RowError: The event answers no rated question, or several.
        """
        rated = self._rated(properties)
        if not rated:
            raise RowError("not_a_vote", "the event answers no question with a rating")
        if len(rated) > 1 and _RESPONSE not in rated:
            raise RowError("several_answers", "the event answers several rated questions; state the option `question`")
        return _RESPONSE if _RESPONSE in rated else rated[0]


def _event_id(row: Row) -> str:
    return f"{row.get('uuid', row.get('timestamp'))}"


def _submission(row: Row, properties: Row) -> str:
    return f"submission:{properties.get('$survey_submission_id') or _event_id(row)}"


def _scale(properties: Row, field: str) -> str:
    return f"scale:{properties.get('$survey_id')}:{field}"


def _reader(options: Options) -> _Reader:
    answer = options.get("answer", "only")
    if answer not in ("only", "last"):
        raise ConfigError(f"option answer is '{answer}', not only or last.")
    stated = "up" in options or "down" in options
    return _Reader(
        settings=feedback.settings(options, labels=None if stated else _THUMBS, names=None),
        question=options.get("question"),
        last=answer == "last",
        scale_stated=stated,
    )


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "PostHog: thumb surveys (1 is up, 2 is down) with the generations of their traces.",
    detect,
    _reader,
    {
        "question": "Id of the question that is the thumb, where a survey asks for several ratings.",
        "answer": "Which generation of a trace was voted on: only (default; several are rejected) or last.",
        **feedback.TEXT_OPTIONS,
        **feedback.LABEL_OPTIONS,
    },
)
