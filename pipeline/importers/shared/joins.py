"""Feedback that lies apart from its text: votes looked up by id among the texts of all files of their format.

Every file of such a format is read twice: first its texts go into an index (`texts`), then its votes are looked up
there. So votes and texts may share a row, a file, a folder, or only a run's `inputs`; and since every file is an
input, a changed file of texts makes the events again. A text that nobody voted on is no event, nor is a row that is
neither a vote nor a text; a file of nothing else is one reject that says so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from ...reading.records import Options, Record, Reject, RowError, Sample, Source
from ...reading.remarks import UNREAD, ReadRow, Remark, Remarks, text_columns
from ...storage.digests import digest_json
from ..base import Batch, ImporterSpec, RawEvent, read_rows
from . import values
from .messages import Answer, in_words
from .texts import Found, Mark, Text, TextIndex

# Fields under which an API's response lists its rows; a row of its own never has one of them beside an id.
_LISTS: Final = ("data", "items", "results", "feedback_data")

Row = Mapping[str, Any]


class Vote(NamedTuple):
    """One vote before its text is found.

    Attributes:
        about: Keys of the text, the most particular first.
        vote: A member of `tables.VOTE`.
        source_event_id: The log's own id of the vote.
        user_id: The voter; None where the log does not say: then who asked is taken.
        conversation_id: The log's own id; None where only the text knows it.
        created_at: UTC.
    """

    about: tuple[str, ...]
    vote: str
    source_event_id: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None
    created_at: datetime | None = None


class Correction(NamedTuple):
    """A better answer that a person wrote over the one that she was given; `vote.vote` is not looked at."""

    vote: Vote
    corrected: Answer


class Preference(NamedTuple):
    """Two answers to one prompt of which `vote.about` is the better; `vote.vote` is not looked at."""

    vote: Vote
    other: tuple[str, ...]
    comparison_id: str


class Reader(Protocol):
    """One format under given options."""

    def texts(self, row: Row) -> Iterable[Text | Mark]:
        """What a row tells about texts; it never raises: a text that cannot be used carries its problem."""

    def votes(self, row: Row, index: TextIndex) -> Iterable[Vote | Correction | Preference | RowError]:
        """The votes of a row; RowError as in `base.read_rows`."""


def rows(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one record: itself, or those that an API's response lists."""
    if "id" not in value:
        for field in _LISTS:
            listed = value.get(field)
            if isinstance(listed, list) and listed and all(isinstance(row, dict) for row in listed):
                return listed
    return [value]


def sample_rows(sample: Sample) -> list[dict[str, Any]]:
    """The rows of a sample."""
    return [row for record in sample.records for row in rows(record)]


def joined_spec(
    name: str,
    description: str,
    detect: Callable[[list[dict[str, Any]]], bool],
    reader: Callable[[Options], Reader],
    options: Mapping[str, str],
) -> ImporterSpec:
    """The importer of a format whose votes and texts are joined.

    Args:
        name: What `format` in a run file says.
        description: One line for `thumbline formats`.
        detect: Whether rows are votes or texts of this format.
        reader: The format under given options.
        options: Option name to its meaning.
    """

    def read_together(sources: Sequence[Source], stated: Options) -> Iterator[tuple[str, Batch]]:
        return _read_together(name, sources, reader(stated), detect)

    return ImporterSpec(
        name=name,
        description=description,
        detect=lambda sample, _: detect(sample_rows(sample)),
        read=lambda source, stated: (batch for _, batch in read_together([source], stated)),
        options=options,
        read_together=read_together,
    )


def _read_together(
    name: str, sources: Sequence[Source], reader: Reader, detect: Callable[[list[dict[str, Any]]], bool]
) -> Iterator[tuple[str, Batch]]:
    index, asked = TextIndex(), _Asked({}, set())
    try:
        fitting = {source.name for source in sources if _index(source, reader, index, detect, asked)}
        for source in sources:
            silent = source.name not in fitting
            for batch in read_rows(
                source, lambda record: _events(name, record, reader, index, asked), name_unread=False
            ):
                silent = silent and not batch.events and not batch.rejects
                yield source.name, batch
            if silent:
                detail = f"no row is a vote or a text of format {name}"
                yield source.name, Batch([], [Reject(0, "unknown_format", detail, "")], 0)
        for source in sources:
            yield source.name, Batch([], [], 0, asked.unread(source.name))
    finally:
        index.close()


class _Asked(NamedTuple):
    """Which columns of a format's sources hold text, and which of them were asked for, for texts or for votes.

    Attributes:
        held: Source to its columns of text, with the rows of each.
        names: Columns that were asked for, in any row.
    """

    held: dict[str, Counter[str]]
    names: set[str]

    def unread(self, source: str) -> Remarks:
        """The columns of a source that nobody asked for."""
        columns = self.held.get(source, Counter[str]())
        return Remarks({Remark(UNREAD, name): rows for name, rows in columns.items() if name not in self.names})


def _index(
    source: Source,
    reader: Reader,
    index: TextIndex,
    detect: Callable[[list[dict[str, Any]]], bool],
    asked: _Asked,
) -> bool:
    """Put what a source tells about texts into the index; whether any row of it is of the format."""
    fits = False
    held = asked.held.setdefault(source.name, Counter())

    def facts() -> Iterator[Text | Mark]:
        nonlocal fits
        for record in source.rows():
            if not isinstance(record, Record):
                continue
            inner = rows(record.value)
            fits = fits or detect(inner)
            for row in inner:
                held.update(text_columns(row))
                for fact in reader.texts(ReadRow(row, asked.names)):
                    fits = True
                    yield fact

    index.put(facts())
    return fits


def _events(
    name: str, record: Record, reader: Reader, index: TextIndex, asked: _Asked
) -> Iterator[RawEvent | RowError]:
    for row in rows(record.value):
        try:
            for stated in reader.votes(ReadRow(row, asked.names), index):
                if isinstance(stated, RowError):
                    yield stated
                else:
                    yield from _looked_up(name, record, stated, index)
        except RowError as error:
            yield error


def _looked_up(
    name: str, record: Record, stated: Vote | Correction | Preference, index: TextIndex
) -> Iterator[RawEvent | RowError]:
    try:
        if isinstance(stated, Vote):
            answer = index.answer(stated.about)
            yield _event(record, stated, answer, answer.said, stated.vote)
        elif isinstance(stated, Correction):
            yield from _edit(name, record, stated, index)
        else:
            yield from _comparison(name, record, stated, index)
    except RowError as error:
        yield error


def _edit(name: str, record: Record, edit: Correction, index: TextIndex) -> list[RawEvent]:
    answer = index.answer(edit.vote.about)
    if edit.corrected.is_same(answer.said):
        raise RowError("same_answer", "the correction is the answer itself")
    named = edit.vote.source_event_id or record.line
    comparison = (digest_json([name, "edit", named, answer.prompt, *in_words(edit.corrected, answer.said)]), "edit")
    return [
        _event(record, edit.vote, answer, edit.corrected, "chosen", comparison)._replace(model=None),
        _event(record, edit.vote, answer, answer.said, "rejected", comparison),
    ]


def _comparison(name: str, record: Record, stated: Preference, index: TextIndex) -> list[RawEvent]:
    better, worse = index.answer(stated.vote.about), index.answer(stated.other)
    if (better.prompt, better.text.tools) != (worse.prompt, worse.text.tools):
        raise RowError("different_prompts", "the two answers that were compared have different prompts")
    if better.said == worse.said:
        raise RowError("same_answer", "the two answers that were compared are the same text")
    comparison = (digest_json([name, stated.comparison_id]), "preference")
    return [
        _event(record, stated.vote, better, better.said, "chosen", comparison),
        _event(record, stated.vote, worse, worse.said, "rejected", comparison),
    ]


def _event(
    record: Record, vote: Vote, answer: Found, said: Answer, label: str, comparison: tuple[str, str] | None = None
) -> RawEvent:
    named = vote.source_event_id
    return RawEvent(
        # Both sides of a comparison, and the vote beside an edit, come from one event of the log but differ.
        source_event_id=named if named is None or comparison is None else f"{named}/{label}",
        conversation_id=vote.conversation_id or answer.text.conversation,
        user_id=vote.user_id or answer.text.user_id,
        model=answer.text.model,
        prompt=answer.prompt,
        tools=answer.text.tools,
        **said._asdict(),
        vote=label,
        comparison_id=None if comparison is None else comparison[0],
        created_at=vote.created_at,
        comparison_kind=None if comparison is None else comparison[1],
    )


def text_or_problem(key: str, make: Callable[[], Text]) -> Text:
    """The text that `make` gives; one that carries the problem where it raises RowError."""
    try:
        return make()
    except RowError as error:
        return Text(key, [], problem=(error.reason, error.detail))


def micros(record: Row, field: str) -> int | None:
    """A time as microseconds since 1970, to order by; None where the row has none or none that can be read."""
    try:
        moment = values.time(record, field)
    except RowError:
        return None
    return None if moment is None else round(moment.timestamp() * 1_000_000)
