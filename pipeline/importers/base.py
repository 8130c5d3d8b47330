"""What an importer is: it is given guarded records of one source and gives back events and rejects, in batches.

An importer never sees a broken line (the guard rejected it before), never opens a file itself, and never guesses:
what it cannot read for sure is a reject with a reason, beside the good rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from ..reading.records import Options, Record, Reject, RowError, Sample, Source, reject

# A batch ends at either bound, so that memory does not grow with the file.
_BATCH_ROWS: Final = 4_096
_BATCH_CHARACTERS: Final = 16 * 1024 * 1024

Message = dict[str, str]


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
