"""LangSmith: feedback joined with runs by run id, corrections as edits, grouped feedback as comparisons.

A boolean score is a thumb, and so is a value of a known label; a numeric score needs its scale stated. Two rows of one
`feedback_group_id`, scored 1 and 0, compare two runs: the row that is scored 1 gives both sides, and the row scored 0
is part of it. Feedback of a model or an automatic evaluator is no person's.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Correction, Preference, Row, Vote, micros, text_or_problem
from .shared.texts import Mark, Text, TextIndex

NAME: Final = "langsmith"
_HUMAN: Final = ("app", "api", None)
# Metadata under which LangSmith groups the runs of one conversation.
_THREADS: Final = ("session_id", "thread_id", "conversation_id")


def _is_feedback(row: Row) -> bool:
    return row.keys() >= {"run_id", "key", "score"}


def _is_run(row: Row) -> bool:
    return row.keys() >= {"id", "run_type", "inputs", "outputs"}


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is feedback or a run."""
    return any(_is_feedback(row) or _is_run(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text | Mark]:
        if _is_run(row):
            key = f"{row.get('id')}"
            yield text_or_problem(key, lambda: self._run(key, row))
        elif _is_feedback(row) and row.get("feedback_group_id") is not None:
            side, rank = _side(row, _preferred(row)), micros(row, "modified_at") or 0
            yield Mark(f"id:{side}", f"{row.get('id')}", rank)
            yield Mark(f"run:{side}", f"{row.get('run_id')}", rank)

    def _run(self, key: str, row: Row) -> Text:
        sides = [parsed(row.get(name)) for name in ("inputs", "outputs")]
        metadata = chat.object_of(row.get("extra")).get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        threads = (values.identifier(metadata, name) for name in _THREADS)
        return Text(
            key,
            self.settings.messages(sides[0], sides[1], ("inputs", "outputs")),
            conversation=next((thread for thread in threads if thread is not None), None),
            user_id=values.identifier(metadata, "user_id"),
            model=values.identifier(metadata, "ls_model_name"),
            tools=chat.tools_of(sides[0]) or chat.tools_of(chat.object_of(row.get("extra")).get("invocation_params")),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | Correction | Preference | RowError]:
        if not _is_feedback(row):
            return
        source = parsed(row.get("feedback_source"))
        kind, voter = (source.get("type"), source) if isinstance(source, dict) else (source, {})
        self.settings.check_human(kind in _HUMAN, kind)
        vote = Vote(
            about=_about(row),
            vote="unrated",
            source_event_id=values.identifier(row, "id"),
            user_id=values.identifier(voter, "user_id"),
            created_at=values.time(row, "modified_at") or values.time(row, "created_at"),
        )
        if row.get("feedback_group_id") is not None:
            yield from _preference(row, vote, index)
            return
        if row.get("correction") is not None:
            corrected = chat.answer(parsed(row["correction"]), "correction", self.settings.completion)
            yield Correction(vote, corrected)
            if row.get("score") is None and row.get("value") is None:
                return
        self.settings.check_name(row.get("key"))
        yield vote._replace(vote=self.settings.vote(row, "value", "score"))


def _about(row: Row) -> tuple[str, ...]:
    run = values.identifier(row, "run_id") or values.identifier(row, "trace_id")
    if run is None:
        raise RowError("not_an_answer", "the feedback names neither a run nor a trace")
    return (run,)


def _side(row: Row, preferred: bool | None) -> str:
    """What names one side of a comparison: its group, what was compared, and the score."""
    return f"{row.get('feedback_group_id')}:{row.get('key')}:{preferred}"


def _preferred(row: Row) -> bool | None:
    score = row.get("score")
    return bool(score) if isinstance(score, int | float) and score in (0, 1) else None


def _preference(row: Row, vote: Vote, index: TextIndex) -> Iterator[Preference]:
    """Both sides of a comparison where `row` is its better one, nothing where it is the other.

    Raises:
        RowError: A score that is not 1 or 0, no other side, or a later row of the same side.
    """
    preferred = _preferred(row)
    if preferred is None:
        raise RowError(
            "unknown_label", f"field 'score' of a comparison is {bounded_label(row.get('score'))}, not 1 or 0"
        )
    if index.mark(f"id:{_side(row, preferred)}") != f"{row.get('id')}":
        raise RowError("overridden", "a later row of the same feedback group and score takes its place")
    other = index.mark(f"run:{_side(row, not preferred)}")
    if other is None:
        raise RowError("no_partner", "no row of the same feedback group has the other score")
    if preferred:
        yield Preference(vote, (other,), f"{row.get('feedback_group_id')}:{row.get('key')}")


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "LangSmith: feedback with its runs; corrections are edits, feedback groups are comparisons.",
    detect,
    lambda options: _Reader(feedback.settings(options)),
    {**feedback.NAME_OPTION, **feedback.ANNOTATOR_OPTION, **feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)
