"""OpenTelemetry: events `gen_ai.evaluation.result` joined with the spans, or events, that hold the messages.

An evaluation names the response that it is about, or belongs to the span that gave it. Which evaluations are thumbs the
conventions do not say: their name must be a known or a stated one. Rows are spans, log records or OTLP's own JSON.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from .base import ImporterSpec
from .shared import feedback, joins, values
from .shared.joins import Row, Vote
from .shared.spans import has_texts, span_attributes, span_id, span_text
from .shared.texts import Text, TextIndex

NAME: Final = "otel"
_EVENT: Final = "gen_ai.evaluation.result"
# OTLP's JSON: resources hold scopes hold spans or records.
_NESTED: Final = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))


def _flat(row: Row) -> Iterator[Row]:
    """Spans, records and the events in spans; an event has its span's id."""
    for resources, scopes, entries in _NESTED:
        for resource in _objects(row.get(resources)):
            for scope in _objects(resource.get(scopes)):
                for entry in _objects(scope.get(entries)):
                    yield from _flat(entry)
    if any(resources in row for resources, _, _ in _NESTED):
        return
    yield row
    for event in _objects(row.get("events")):
        yield {"span_id": span_id(row), "event_name": event.get("name"), **event}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _is_evaluation(row: Row, attributes: Row) -> bool:
    return _EVENT in (row.get("event_name"), row.get("eventName"), attributes.get("event.name"))


def _is_gen_ai(row: Row) -> bool:
    return any(name.startswith("gen_ai.") for name in span_attributes(row))


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row, or one inside it, has attributes of the GenAI conventions."""
    return any(_is_gen_ai(inner) for row in rows for inner in _flat(row))


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        for inner in _flat(row):
            attributes = span_attributes(inner)
            if _is_evaluation(inner, attributes) or not has_texts(attributes):
                continue
            identity, response = span_id(inner), attributes.get("gen_ai.response.id")
            if identity is not None:
                yield span_text(f"span:{identity}", attributes, self.settings)
            if isinstance(response, str) and response:
                yield span_text(f"response:{response}", attributes, self.settings)

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        for inner in _flat(row):
            attributes = span_attributes(inner)
            if _is_evaluation(inner, attributes):
                try:
                    yield self._vote(inner, attributes)
                except RowError as error:
                    yield error

    def _vote(self, row: Row, attributes: Row) -> Vote:
        if attributes.get("error.type") is not None:
            raise RowError("evaluation_failed", f"its error.type is {bounded_label(attributes['error.type'])}")
        self.settings.check_name(attributes.get("gen_ai.evaluation.name"))
        response, span = values.identifier(attributes, "gen_ai.response.id"), span_id(row)
        if response is None and span is None:
            raise RowError("not_an_answer", "the evaluation names neither a response nor a span")
        named = [f"response:{response}"] if response is not None else []
        return Vote(
            about=(*named, *([f"span:{span}"] if span is not None else [])),
            vote=self.settings.vote(attributes, "gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value"),
            user_id=values.identifier(attributes, "user.id") or values.identifier(attributes, "enduser.id"),
            created_at=_time(row),
        )


def _time(row: Row) -> datetime | None:
    """When an event was: a time, or nanoseconds since 1970 as OTLP writes them."""
    for field in ("timeUnixNano", "time_unix_nano", "observedTimeUnixNano"):
        nanoseconds = row.get(field)
        if isinstance(nanoseconds, str) and nanoseconds.isdigit():
            nanoseconds = int(nanoseconds)
        if isinstance(nanoseconds, int) and nanoseconds > 0:
            return values.time({field: nanoseconds // 1_000}, field, "us")
    return values.time(row, "timestamp")


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "OpenTelemetry: gen_ai.evaluation.result events with the spans of their messages (OTLP JSON, exporters' JSON).",
    detect,
    lambda options: _Reader(feedback.settings(options)),
    {**feedback.NAME_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
