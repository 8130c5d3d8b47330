"""Arize Phoenix: annotations joined with spans by span id; a person's annotation of a known label is a vote.

The label counts; a score counts only where its scale is stated. A span's messages are its text, or, where it has none,
its input and output values. Annotations by models and code are no person's.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .base import ImporterSpec
from .shared import feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote
from .shared.spans import has_texts, span_attributes, span_id, span_text
from .shared.texts import Text, TextIndex

NAME: Final = "phoenix"
_CONVENTION: Final = ("llm.", "openinference.", "input.", "output.")


def _is_annotation(row: Row) -> bool:
    return row.keys() >= {"span_id", "annotator_kind"}


def _is_span(row: Row) -> bool:
    return span_id(row) is not None and any(name.startswith("attributes") for name in row)


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is an annotation, or a span with attributes of OpenInference."""
    return any(
        _is_annotation(row) or (_is_span(row) and any(name.startswith(_CONVENTION) for name in span_attributes(row)))
        for row in rows
    )


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        identity = span_id(row)
        if identity is not None and not _is_annotation(row) and _is_span(row):
            attributes = span_attributes(row)
            if has_texts(attributes):
                yield span_text(identity, attributes, self.settings)

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if not _is_annotation(row):
            return
        kind = row.get("annotator_kind")
        self.settings.check_human(kind == "HUMAN", kind)
        self.settings.check_name(row.get("name", row.get("annotation_name")))
        identity = span_id(row)
        if identity is None:
            raise RowError("missing_field", "field 'span_id' is null")
        yield Vote(
            about=(identity,),
            vote=self.settings.vote(_result(row), "label", "score"),
            source_event_id=values.identifier(row, "id"),
            user_id=values.identifier(row, "user_id"),
            created_at=values.time(row, "updated_at") or values.time(row, "created_at"),
        )


def _result(row: Row) -> dict[str, Any]:
    """What was judged: an object of its own, or columns."""
    result = parsed(row.get("result"))
    if isinstance(result, dict):
        return result
    return {name: row.get(name, row.get(f"result.{name}")) for name in ("label", "score")}


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Arize Phoenix: span annotations with their spans (OpenInference attributes).",
    detect,
    lambda options: _Reader(feedback.settings(options)),
    {**feedback.NAME_OPTION, **feedback.ANNOTATOR_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
