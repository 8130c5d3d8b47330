"""What an importer is: it is given guarded records of one source and gives back events and rejects, in batches.

An importer never sees a broken line (the guard rejected it before), never opens a file itself, and never guesses:
what it cannot read for sure is a reject with a reason, beside the good rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pipeline.errors import PipelineError

MAX_RAW_CHARACTERS: Final = 2_000
# A label is shown in full up to here; a longer one is not a label but a text in the wrong column.
_MAX_LABEL_CHARACTERS: Final = 60
# A batch ends at either bound, so that memory does not grow with the file.
_BATCH_ROWS: Final = 4_096
_BATCH_CHARACTERS: Final = 16 * 1024 * 1024

Options = Mapping[str, str]
Message = dict[str, str]


class RowError(PipelineError, ValueError):
    """Why one row, or one event of it, cannot be used.

    Attributes:
        reason: The code that the rejects table counts by.
        detail: What was seen; a field's name or a label's value, never prompt or completion text.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the code and the words apart."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Record(NamedTuple):
    """One readable row of a source.

    Attributes:
        line: Line of a text file, or row of a table or array; the first is 1.
        value: Its fields.
        raw: The row's bytes; None where the row came decoded (Parquet, hub).
    """

    line: int
    value: dict[str, Any]
    raw: bytes | None


class Reject(NamedTuple):
    """One row that cannot be used; line 0 stands for the whole source."""

    line: int
    reason: str
    detail: str
    raw: str


class RawEvent(NamedTuple):
    """One event before its id and the pseudonym of its user are made; `None` where the log does not say.

    Attributes:
        line: Line or row of its record.
        source_event_id: The log's own id of the event.
        conversation_id: The log's own id of the conversation.
        user_id: The log's own id of the voter.
        model: Name of what answered.
        prompt: Messages before the answer; an answer that opened the conversation has none.
        completion: The answer's text.
        vote: A member of `tables.VOTE`. The two sides of a comparison are `chosen` and `rejected`, or both `tied` or
            both `both_bad`; `copied` and `regenerated` are what a user did with an answer, not what she said of it.
        comparison_id: Shared by the two sides of one explicit comparison.
        created_at: UTC.
        comparison_kind: A member of `tables.COMPARISON_KIND` where there is a comparison_id.
        propensity: Probability, in (0, 1], that the product showed this answer, where the log says it.
        position: Place of the answer among those shown together; the first is 1.
    """

    line: int
    source_event_id: str | None
    conversation_id: str | None
    user_id: str | None
    model: str | None
    prompt: list[Message]
    completion: str
    vote: str
    comparison_id: str | None
    created_at: datetime | None
    comparison_kind: str | None = None
    propensity: float | None = None
    position: int | None = None


class Batch(NamedTuple):
    """A bounded number of rows: `records` were read, each is in `events` (once or more), in `rejects`, or in both.

    A row that only holds a text for votes elsewhere is in neither.
    """

    events: list[RawEvent]
    rejects: list[Reject]
    records: int


class Source(Protocol):
    """Something that holds rows."""

    @property
    def name(self) -> str:
        """How the user named it: the tables' `source_file`."""

    def rows(self) -> Iterator[Record | Reject]:
        """Every row in order, from the start, readable or not."""


class Sample(NamedTuple):
    """The first readable rows of a source, to tell its format by."""

    name: str
    records: list[dict[str, Any]]

    @property
    def fields(self) -> list[str]:
        """Names of all fields seen, in order of first sight."""
        return list(dict.fromkeys(name for record in self.records for name in record))


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
    """

    name: str
    description: str
    detect: Callable[[Sample, Options], bool]
    read: Callable[[Source, Options], Iterator[Batch]]
    options: Mapping[str, str] = field(default_factory=dict)
    read_together: Callable[[Sequence[Source], Options], Iterator[tuple[str, Batch]]] | None = None


def read_rows(source: Source, parse: Callable[[Record], Iterable[RawEvent | RowError]]) -> Iterator[Batch]:
    """Batches of a source whose records are parsed one at a time.

    Args:
        source: The rows.
        parse: A record's events; an error that it yields rejects one event, one that it raises ends the record.
    """
    batch = Batch([], [], 0)
    characters = 0
    for row in source.rows():
        before = len(batch.events)
        if isinstance(row, Reject):
            batch.rejects.append(row)
        else:
            _parse_into(batch, row, parse)
        batch = batch._replace(records=batch.records + 1)
        characters += sum(map(_size, batch.events[before:]))
        if batch.records >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = Batch([], [], 0), 0
    if batch.records:
        yield batch


def _parse_into(batch: Batch, record: Record, parse: Callable[[Record], Iterable[RawEvent | RowError]]) -> None:
    try:
        for event in parse(record):
            if isinstance(event, RowError):
                batch.rejects.append(reject(record, event))
            else:
                batch.events.append(event)
    except RowError as error:
        batch.rejects.append(reject(record, error))


def _size(event: RawEvent) -> int:
    return len(event.completion) + sum(len(message["content"]) for message in event.prompt)


def reject(record: Record, error: RowError) -> Reject:
    """The reject of a readable record."""
    raw = record.raw
    if raw is None:
        try:
            raw = msgspec.json.encode(record.value, enc_hook=str)
        except (UnicodeEncodeError, ValueError, TypeError):
            raw = repr(record.value).encode("utf-8", errors="backslashreplace")
    return Reject(record.line, error.reason, error.detail, bounded_raw(raw))


def bounded_raw(data: bytes) -> str:
    """The first `MAX_RAW_CHARACTERS` characters; bytes that are not UTF-8 and NUL as escapes."""
    # A character has four bytes at most: the cut can split only one that the second cut drops anyway.
    text = data[: 4 * MAX_RAW_CHARACTERS].decode("utf-8", errors="backslashreplace")
    return text.replace("\x00", "\\x00")[:MAX_RAW_CHARACTERS]


def bounded_label(value: object) -> str:
    """A label as it may be shown in a reject: quoted and bounded, or only its type where it is no plain value."""
    if not isinstance(value, str | int | float | bool):
        return f"a {type(value).__name__}"
    text = repr(value)
    if len(text) <= _MAX_LABEL_CHARACTERS:
        return text
    return f"a {type(value).__name__} of {len(text)} characters"
