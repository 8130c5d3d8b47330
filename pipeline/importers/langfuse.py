"""Langfuse: scores joined with traces and observations, from the UI's export, the API or the blob export.

A score of an observation is about that observation, a score of a trace about the trace's input and output, or, where
it has none, about those of its only root observation. A BOOLEAN score is a thumb, and so is a CATEGORICAL one of a
known label; a NUMERIC one needs its scale stated. A CORRECTION is an edit. Names in snake_case (the blob export) and
in camelCase are the same names, and the API's `subject` stands for the ids of trace and observation.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ..reading.records import Options, RowError, bounded_label
from ..reading.remarks import remade
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Correction, Row, Vote, text_or_problem
from .shared.messages import Answer
from .shared.texts import Text, TextIndex

NAME: Final = "langfuse"
_BOOLEAN: Final = {"1": "up", "0": "down"}
_HUMAN: Final = ("ANNOTATION", "API", None)
_FIELDS_OF_TYPE: Final[Mapping[str | None, tuple[str, ...]]] = {
    "BOOLEAN": ("stringValue", "value"),
    "NUMERIC": ("value",),
    "CATEGORICAL": ("stringValue",),
    None: ("stringValue", "value"),
}
# A log that has one of these in each row is somebody's own log, with its vote beside the text.
_OWN_VOTE: Final = frozenset({"feedback", "vote", "rating", "thumb", "thumbs", "reaction"})
_TRACE_FIELDS: Final = frozenset({"bookmarked", "public", "release", "htmlPath", "environment"})


def _camel(row: Row) -> dict[str, Any]:
    return remade(row, lambda name, value: (_camel_name(name), value))


@lru_cache(maxsize=1_000)
def _camel_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _is_score(row: Row) -> bool:
    return row.keys() >= {"name", "value", "source", "dataType"} or row.keys() >= {"name", "value", "subject"}


def _is_observation(row: Row) -> bool:
    return row.keys() >= {"input", "output", "traceId", "parentObservationId"}


def _is_trace(row: Row) -> bool:
    named = row.keys() >= {"id", "input", "output", "sessionId"} and bool(_TRACE_FIELDS & row.keys())
    return named and not (_OWN_VOTE & row.keys())


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a score, a trace or an observation."""
    return any(_is_score(row) or _is_observation(row) or _is_trace(row) for row in map(_camel, rows))


class _Reader(NamedTuple):
    plain: feedback.Settings
    boolean: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        camel = _camel(row)
        if _is_score(camel):
            return
        if _is_observation(camel):
            yield from self._observation(camel)
            return
        if not {"input", "output", "observations"} & camel.keys():
            return
        yield self._text(f"trace:{camel.get('id')}", camel, rank=1)
        for observation in chat.objects_of(camel.get("observations")):
            yield from self._observation({"traceId": camel.get("id"), **_camel(observation)})

    def _observation(self, row: Row) -> Iterator[Text]:
        yield self._text(f"observation:{row.get('id')}", row)
        if row.get("parentObservationId") is None:
            yield self._text(f"trace:{row.get('traceId')}", row)

    def _text(self, key: str, row: Row, rank: int = 0) -> Text:
        return text_or_problem(
            key,
            lambda: Text(
                key,
                self.plain.messages(row.get("input"), row.get("output"), ("input", "output")),
                conversation=values.identifier(row, "sessionId"),
                user_id=values.identifier(row, "userId"),
                model=values.identifier(row, "model") or values.identifier(row, "providedModelName"),
                tools=chat.tools_of(row.get("input")),
                rank=rank,
            ),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterable[Vote | Correction | RowError]:
        camel = _camel(row)
        if _is_score(camel):
            yield self._vote(camel)
        for score in chat.objects_of(camel.get("scores")):
            try:
                yield self._vote({"traceId": camel.get("id"), **_camel(score)})
            except RowError as error:
                yield error

    def _vote(self, row: Row) -> Vote | Correction:
        kind, source = row.get("dataType"), row.get("source")
        self.plain.check_human(source in _HUMAN, source)
        if kind != "CORRECTION":
            self.plain.check_name(row.get("name"))
        vote = Vote(
            about=_about(row),
            vote="unrated",
            source_event_id=values.identifier(row, "id"),
            user_id=values.identifier(row, "authorUserId") or values.identifier(row, "userId"),
            created_at=values.time(row, "timestamp") or values.time(row, "createdAt"),
        )
        if kind == "CORRECTION":
            field = "stringValue" if row.get("stringValue") is not None else "value"
            return Correction(vote, Answer(values.text(row, field, empty="empty_completion")))
        if not isinstance(kind, str | None) or kind not in _FIELDS_OF_TYPE:
            raise RowError("not_a_vote", f"its dataType is {bounded_label(kind)}")
        fields = _FIELDS_OF_TYPE[kind]
        if kind == "CATEGORICAL" and isinstance(row.get("value"), str) and row.get("stringValue") is None:
            fields = ("value",)
        settings = self.boolean if kind == "BOOLEAN" else self.plain
        return vote._replace(vote=settings.vote(row, *fields))


def _about(row: Row) -> tuple[str, ...]:
    """The key of what a score is about.

    Raises:
        RowError: It is a session or an experiment, not one answer.
    """
    subject = parsed(row.get("subject"))
    if isinstance(subject, dict):
        kind = subject.get("kind")
        if kind not in ("trace", "observation"):
            raise RowError("not_an_answer", f"the score is about a subject of kind {bounded_label(kind)}")
        return (f"{kind}:{values.identifier(subject, 'id')}",)
    for field, kind in (("observationId", "observation"), ("traceId", "trace")):
        identifier = values.link(row, field)
        if identifier is not None:
            return (f"{kind}:{identifier}",)
    raise RowError("not_an_answer", "the score names neither a trace nor an observation")


def _reader(options: Options) -> _Reader:
    return _Reader(feedback.settings(options), feedback.settings(options, labels=_BOOLEAN))


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Langfuse: scores with their traces or observations (UI export, API, blob export; CSV, JSON, JSONL).",
    detect,
    _reader,
    {**feedback.NAME_OPTION, **feedback.ANNOTATOR_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
