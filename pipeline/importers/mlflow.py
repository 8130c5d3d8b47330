"""MLflow: assessments joined with traces, of which an overridden or an invalid one is no vote.

Traces come as `info` and `data`, or as rows of `search_traces`; assessments lie in them or are rows of their own. What
`overrides` names is rejected, wherever the overriding assessment lies, and so is what says `valid: false`. Judges and
code are no persons. A preview of a request or a response may be cut and is never taken for the text.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, text_or_problem
from .shared.spans import span_id
from .shared.texts import Mark, Text, TextIndex

NAME: Final = "mlflow"
_TRACE_FIELDS: Final = frozenset({"trace_metadata", "assessments", "spans", "execution_duration", "request_time"})


def _is_assessment(row: Row) -> bool:
    return row.keys() >= {"assessment_name", "trace_id", "source"}


def _is_trace(row: Row) -> bool:
    info = parsed(row.get("info"))
    if isinstance(info, dict):
        return "data" in row and bool({"trace_id", "request_id"} & info.keys())
    return row.keys() >= {"trace_id", "request", "response"} and bool(_TRACE_FIELDS & row.keys())


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a trace or an assessment."""
    return any(_is_assessment(row) or _is_trace(row) for row in rows)


class _Trace(NamedTuple):
    """The parts of a trace, whichever way it is written."""

    trace_id: str
    info: Row
    request: Any
    response: Any
    spans: list[dict[str, Any]]


def _trace(row: Row) -> _Trace:
    stated, data = parsed(row.get("info")), parsed(row.get("data"))
    info = stated if isinstance(stated, dict) else row
    inner = data if isinstance(data, dict) else row
    return _Trace(
        trace_id=f"{info.get('trace_id') or info.get('request_id')}",
        info=info,
        request=inner.get("request"),
        response=inner.get("response"),
        spans=chat.objects_of(inner.get("spans")),
    )


def _assessments(row: Row) -> list[Row]:
    """The assessments of a row, each with its trace's id."""
    if _is_assessment(row):
        return [row]
    trace = _trace(row)
    return [{"trace_id": trace.trace_id, **assessment} for assessment in chat.objects_of(trace.info.get("assessments"))]


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text | Mark]:
        if not _is_assessment(row) and not _is_trace(row):
            return
        for assessment in _assessments(row):
            if isinstance(assessment.get("overrides"), str) and assessment["overrides"]:
                yield Mark(f"overridden:{assessment['overrides']}", f"{assessment.get('assessment_id')}")
        if not _is_assessment(row):
            yield from self._texts(_trace(row))

    def _texts(self, trace: _Trace) -> Iterator[Text]:
        root: tuple[Any, Any] = (None, None)
        for span in trace.spans:
            sides = _span_sides(span)
            identity = span_id(span)
            yield self._text(f"{trace.trace_id}:{identity}", trace, *sides)
            if span.get("parent_span_id", span.get("parent_id")) in (None, ""):
                root = sides
        stated = (trace.request, trace.response)
        yield self._text(trace.trace_id, trace, *(root if None in stated else stated))

    def _text(self, key: str, trace: _Trace, request: Any, response: Any) -> Text:
        metadata = chat.object_of(trace.info.get("trace_metadata"))
        return text_or_problem(
            key,
            lambda: Text(
                key,
                self.settings.messages(_loaded(request), _loaded(response), ("request", "response")),
                conversation=values.identifier(metadata, "mlflow.trace.session"),
                user_id=values.identifier(metadata, "mlflow.trace.user"),
                tools=chat.tools_of(_loaded(request)),
            ),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if not _is_assessment(row) and not _is_trace(row):
            return
        for assessment in _assessments(row):
            try:
                yield self._vote(assessment, index)
            except RowError as error:
                yield error

    def _vote(self, row: Row, index: TextIndex) -> Vote:
        identity, trace = values.identifier(row, "assessment_id"), values.identifier(row, "trace_id")
        source, stated = parsed(row.get("source")), parsed(row.get("feedback"))
        source = source if isinstance(source, dict) else {}
        if row.get("valid") is False:
            raise RowError("invalidated", "the assessment says valid: false")
        if identity is not None and index.mark(f"overridden:{identity}") is not None:
            raise RowError("overridden", "another assessment says that it overrides this one")
        self.settings.check_human(source.get("source_type") == "HUMAN", source.get("source_type"))
        self.settings.check_name(row.get("assessment_name", row.get("name")))
        if not isinstance(stated, dict):
            raise RowError("not_a_vote", "the assessment holds no feedback")
        if stated.get("error") is not None:
            raise RowError("evaluation_failed", f"its feedback has an error ({bounded_label(type(stated['error']))})")
        span = values.identifier(row, "span_id")
        return Vote(
            about=(f"{trace}" if span is None else f"{trace}:{span}",),
            vote=self.settings.vote(stated, "value"),
            source_event_id=identity,
            user_id=values.identifier(source, "source_id"),
            created_at=values.time(row, "last_update_time") or values.time(row, "create_time"),
        )


def _span_sides(span: Row) -> tuple[Any, Any]:
    """What went into a span and what came out."""
    attributes = chat.object_of(span.get("attributes"))
    return (
        span.get("inputs", attributes.get("mlflow.spanInputs")),
        span.get("outputs", attributes.get("mlflow.spanOutputs")),
    )


def _loaded(value: Any) -> Any:
    """The value of what MLflow writes as JSON, plain texts in their quotes included."""
    return parsed(value, begins=())


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "MLflow: assessments of people with their traces; invalid and overridden ones are rejected.",
    detect,
    lambda options: _Reader(feedback.settings(options)),
    {**feedback.NAME_OPTION, **feedback.ANNOTATOR_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
