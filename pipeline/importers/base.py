"""What an importer is: it is given guarded records of one source and gives back events and rejects, in batches.

An importer never sees a broken line (the guard rejected it before), never opens a file itself, and never guesses:
what it cannot read for sure is a reject with a reason, beside the good rows. Most formats are a function of one row:
`row_importer` and `labels.labelled_importer` make the rest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from ..reading.records import Options, Record, Reject, RowError, Sample, Source, reject
from ..reading.remarks import UNREAD, ReadRow, Remark, Remarks, remarking, unread

# Keys `role` and `content`, and `extra` where the message says more that a chat template may read: JSON of its tool
# calls, the call that it answers, its name and its reasoning, as `storage.digests.compact_json` writes it.
Message = dict[str, str]
Row = dict[str, Any]
_Item = TypeVar("_Item")


class RawEvent(NamedTuple):
    """One event before its ids and the pseudonym of its user are made; `None` where the log does not say.

    Each field but the log's own id is a column of table `events`; `line` is `source_line` there.

    Attributes:
        prompt: Messages before the answer; an answer that opened the conversation has none.
        completion: The answer's text; empty only where `completion_extra` is there.
        vote: A member of `tables.VOTE`. The two sides of a comparison are `chosen` and `rejected`, or both `tied` or
            both `both_bad`; `copied` and `regenerated` are what a user did with an answer, not what she said of it.
        source_event_id: The log's own id of the event.
        conversation_id: The log's own id of the conversation.
        user_id: The log's own id of the voter.
        model: Name of what answered.
        comparison_id: Shared by the two sides of one explicit comparison.
        comparison_kind: A member of `tables.COMPARISON_KIND` where there is a comparison_id.
        propensity: Probability, in (0, 1], that the product showed this answer, where the log says it.
        position: Place of the answer among those shown together; the first is 1.
        created_at: UTC.
        tools: JSON of the list of tools that were offered with the prompt, as `storage.digests.compact_json` writes it.
        completion_extra: The answer message's `extra`.
        line: Line or row of its record; `read_rows` sets it where the event is not of another row.
    """

    prompt: list[Message]
    completion: str
    vote: str = "unrated"
    source_event_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    model: str | None = None
    comparison_id: str | None = None
    comparison_kind: str | None = None
    propensity: float | None = None
    position: int | None = None
    created_at: datetime | None = None
    tools: str | None = None
    completion_extra: str | None = None
    line: int = 0


_NO_REMARKS: Final[Mapping[Remark, int]] = MappingProxyType({})


class Batch(NamedTuple):
    """A bounded number of rows: `records` were read, each is in `events` (once or more), in `rejects`, or in both.

    A reject of line 0, a source that was not read, is no record. A row that only holds a text for votes elsewhere is
    in neither. `remarks` counts what else was seen of rows that gave an event.
    """

    events: list[RawEvent]
    rejects: list[Reject]
    records: int
    remarks: Mapping[Remark, int] = _NO_REMARKS


class BatchBounds(NamedTuple):
    """A batch ends at either bound, so that memory does not grow with the file."""

    rows: int = 4_096
    characters: int = 16 * 1024 * 1024


_BOUNDS: Final = BatchBounds()


@dataclass(frozen=True)
class ImporterSpec:
    """One log format.

    Attributes:
        name: What `format` in a run file says.
        description: One line for `thumbline formats`.
        detect: Whether a sample of a file is of this format, under the given options.
        read: Batches of a source, under the given options.
        options: Option name to its meaning.
        read_together: Batches of all sources of the format, each with its source's name, where votes and their texts
            may lie in different ones; None where each source stands for itself.
        alone: Whether one source is a whole log too, where sources are read together.
        in_process: Whether only this process has it, so that no other can read its sources.
    """

    name: str
    description: str
    detect: Callable[[Sample, Options], bool]
    read: Callable[[Source, Options], Iterator[Batch]]
    options: Mapping[str, str] = field(default_factory=dict)
    read_together: Callable[[Sequence[Source], Options], Iterator[tuple[str, Batch]]] | None = None
    alone: bool = False
    in_process: bool = False


Events: TypeAlias = Iterable[RawEvent | RowError]


def row_importer(
    name: str,
    description: str,
    *,
    detect: Callable[[Sample, Options], bool],
    parse: Callable[[Row], Events],
) -> ImporterSpec:
    """A format without options whose rows are read one at a time; `labels.labelled_importer` is for votes with labels.

    Args:
        name: What `format` in a run file says.
        description: One line for `thumbline formats`.
        detect: Whether a sample is of this format; `has_columns` makes one.
        parse: A row's events; an error that it yields rejects one event, one that it raises ends the row.
    """
    return ImporterSpec(
        name, description, detect, read=lambda source, _: read_rows(source, lambda record: parse(record.value))
    )


def has_columns(*alternatives: Collection[str]) -> Callable[[Sample, Options], bool]:
    """A `detect` for rows that have all columns of one of the alternatives."""

    def detect(sample: Sample, options: Options) -> bool:
        columns = set(sample.fields)
        return any(columns.issuperset(wanted) for wanted in alternatives)

    return detect


def each(items: Iterable[_Item], parse: Callable[[_Item], Events]) -> Events:
    """The events of several parts of a row; a part that cannot be read rejects itself, and no other."""
    for item in items:
        try:
            yield from parse(item)
        except RowError as error:
            yield error


def read_rows(
    source: Source, parse: Callable[[Record], Events], bounds: BatchBounds = _BOUNDS, *, name_unread: bool = True
) -> Iterator[Batch]:
    """Batches of a source whose records are parsed one at a time.

    Args:
        source: The rows.
        parse: A record's events; an error that it yields rejects one event, one that it raises ends the record.
        bounds: How large a batch may grow.
        name_unread: Whether a column of text that `parse` does not ask for is one that nobody reads.
    """
    batch, remarks = Batch([], [], 0), Remarks()
    characters = 0
    for row in source.rows():
        before = len(batch.events)
        # A source that is not read as a whole is no row.
        read = 1
        if isinstance(row, Reject):
            batch.rejects.append(row)
            read = min(row.line, 1)
        else:
            seen = _parse_into(batch, row, parse)
            if len(batch.events) > before:
                remarks.update(seen if name_unread else [entry for entry in seen if entry.kind != UNREAD])
        batch = batch._replace(records=batch.records + read)
        characters += sum(map(_size, batch.events[before:]))
        if batch.records >= bounds.rows or characters >= bounds.characters:
            yield batch._replace(remarks=remarks)
            batch, remarks, characters = Batch([], [], 0), Remarks(), 0
    if batch.records or batch.rejects:
        yield batch._replace(remarks=remarks)


def _parse_into(batch: Batch, record: Record, parse: Callable[[Record], Events]) -> set[Remark]:
    """Put a record's events and rejects into the batch; what was seen of it besides."""
    row = ReadRow(record.value)
    with remarking() as seen:
        for event in each([record._replace(value=row)], parse):
            if isinstance(event, RowError):
                batch.rejects.append(reject(record, event))
            else:
                batch.events.append(event if event.line else event._replace(line=record.line))
    return {*record.remarks, *seen, *unread(row)}


def _size(event: RawEvent) -> int:
    said = sum(len(message["content"]) + len(message.get("extra") or "") for message in event.prompt)
    return said + len(event.completion) + len(event.completion_extra or "") + len(event.tools or "")
