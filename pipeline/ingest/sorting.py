"""Inputs of any size to events on disk by their prompts, with a bounded part of them in memory.

Every unit of the inputs is read, by as many processes as there are, and its rows are written to disk by bucket of their
prompt's id: events without their texts, and the texts of each answer once a memory full of events. `merging` reads the
buckets back. Ids decide order and bucket, so neither the number of processes or buckets nor the order of the inputs
shows in the result.
"""

from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl

from ..config import EventsConfig
from ..evidence.answers import FIRST_TEXTS, first_texts
from ..reading.remarks import Remarks
from ..storage.arrays import ArrayFile
from ..storage.buckets import NO_FILE, BucketFile, BucketWriter, buckets_of_ids
from .columns import STORED_EVENTS, STORED_REJECTS, UNIT
from .event_ids import with_ids
from .frames import RawBatch, read_unit
from .plan import Unit

_HELD: Final = list(dict.fromkeys([*STORED_EVENTS.names(), *FIRST_TEXTS]))
# The number of a unit's source is that of the unit times this, and its place in it.
SOURCES_PER_UNIT: Final = 1 << 24
# Rows get their ids so many at a time.
_IDENTIFIED_BYTES: Final = 8 << 20


class Task(NamedTuple):
    """Units that one process reads."""

    number: int
    units: list[Unit]
    config: EventsConfig
    buckets: int
    folder: Path
    held_bytes: int


class UnitCounts(NamedTuple):
    """What a source of a unit held.

    Attributes:
        number: The unit's and the source's place in it.
        source_file: Name of its source.
        format: Its format; empty where it was refused.
        records: Rows.
        lines: Lines, where it is a part of a file.
        events: Events, repeated deliveries included.
        rejects: Rejected rows.
        unread: Rejects of line 0: 1 where the source was not read.
        remarks: What else was seen of rows that gave an event.
    """

    number: int
    source_file: str
    format: str
    records: int
    lines: int
    events: int
    rejects: int
    unread: int
    remarks: Remarks


class TaskFiles(NamedTuple):
    """What a task wrote.

    Attributes:
        events: Its events by bucket, without texts.
        texts: What `first_texts` gives of parts of them, by the same buckets.
        units: Its units' counts.
        rejects: Its rejects, sorted, in one bucket.
        names: Pairs of numbers: a hash of a log's own event id, and the beginning of the id of what it stands for.
        users: Numbers: users' pseudonyms.
    """

    events: BucketFile
    texts: BucketFile
    units: list[UnitCounts]
    rejects: BucketFile
    names: Path
    users: Path


def write_task(task: Task) -> TaskFiles:
    """Read a task's units and write what they hold to its folder."""
    stem = task.folder / f"{task.number:06d}"
    with _TaskWriter(stem, task.buckets, task.held_bytes) as held:
        counts = [count for unit in task.units for count in _read_into(held, unit, task.config)]
    with BucketWriter(stem.with_suffix(".rejects")) as writer:
        rejects = pl.concat(held.rejects).sort(STORED_REJECTS.names(), maintain_order=True)
        # One bucket: they are few.
        writer.write(rejects, pl.zeros(len(rejects), dtype=pl.Int32, eager=True))
    return TaskFiles(held.events, held.texts, counts, writer.close(), held.names, held.users)


def _read_into(held: "_TaskWriter", unit: Unit, config: EventsConfig) -> list[UnitCounts]:
    """Counts of each source of a unit: mostly one, more where votes and texts of one format lie in several."""
    sources = [unit.plan.source.name, *(source.name for source in unit.plan.beside)]
    first = unit.number * SOURCES_PER_UNIT
    counts = {
        name: UnitCounts(first + index, name, unit.plan.format or "", 0, 0, 0, 0, 0, Remarks())
        for index, name in enumerate(sources)
    }
    for batch in read_unit(unit, config):
        count = counts[batch.source]
        unread = int((batch.rejects["source_line"] == 0).sum())
        counts[batch.source] = count._replace(
            records=count.records + batch.records,
            lines=batch.lines,
            events=count.events + len(batch.events),
            rejects=count.rejects + len(batch.rejects) - unread,
            unread=count.unread + unread,
            remarks=count.remarks + Remarks(batch.remarks),
        )
        held.add(batch, count.number)
    return list(counts.values())


class _TaskWriter:
    """Rows of a task, held until they are worth a look at all of them together, then written."""

    def __init__(self, stem: Path, buckets: int, held_bytes: int) -> None:
        self._events = BucketWriter(stem.with_suffix(".events"))
        self._texts = BucketWriter(stem.with_suffix(".texts"))
        self._buckets = buckets
        self._most_bytes = held_bytes
        self._raw: list[pl.DataFrame] = []
        self._held: list[pl.DataFrame] = []
        self._raw_bytes = self._held_bytes = 0
        self.events = self.texts = NO_FILE
        self.rejects = [STORED_REJECTS.to_frame()]
        self.names, self.users = stem.with_suffix(".names"), stem.with_suffix(".users")
        self._names, self._users = ArrayFile(self.names, np.uint64), ArrayFile(self.users, np.uint64)

    def add(self, batch: RawBatch, unit: int) -> None:
        number = pl.lit(unit, pl.Int64).alias(UNIT)
        if len(batch.rejects):
            self.rejects.append(batch.rejects.with_columns(number).select(STORED_REJECTS.names()))
        if len(batch.events):
            self._raw.append(batch.events.with_columns(number))
            self._raw_bytes += int(batch.events.estimated_size())
        if self._raw_bytes > _IDENTIFIED_BYTES:
            self._identify()
        if self._held_bytes > self._most_bytes:
            self._write()

    def _identify(self) -> None:
        if self._raw:
            events = with_ids(pl.concat(self._raw))
            self._names.append(_named_contents(events))
            self._users.append(_user_numbers(events))
            self._held.append(events.select(_HELD))
            self._held_bytes += self._raw_bytes
        self._raw, self._raw_bytes = [], 0

    def _write(self) -> None:
        if self._held:
            # In one piece, of which rows are taken by place without a copy of their texts.
            rows = pl.concat(self._held, rechunk=True)
            for writer, own in (
                (self._events, rows.select(STORED_EVENTS.names())),
                (self._texts, first_texts(rows)),
            ):
                writer.write(own, buckets_of_ids(own["prompt_id"], self._buckets))
        self._held, self._held_bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._names, self._users:
            if error is None:
                self._identify()
                self._write()
            self.events, self.texts = self._events.close(), self._texts.close()


def _named_contents(events: pl.DataFrame) -> np.ndarray:
    """(n, 2) uint64: a hash of each id that the log itself gave, and the beginning of the id of its content."""
    named = events.filter(pl.col("source_event_id").is_not_null())
    # polars' own hash is the same in all processes of one run, and nothing of it is kept.
    own = named.select(pl.struct("format", "source_event_id").hash()).to_series()
    return np.stack([own.to_numpy(), _leading(named["event_id"])], axis=1)


def _user_numbers(events: pl.DataFrame) -> np.ndarray:
    """(n, 1) uint64: the pseudonyms, which are 64 bits written as hexadecimal digits."""
    return _leading(events["user_id"].drop_nulls().unique()).reshape(-1, 1)


def _leading(digits: pl.Series) -> np.ndarray:
    """The first 16 hexadecimal digits as uint64."""
    data = digits.str.head(16).str.decode("hex").bin.reinterpret(dtype=pl.UInt64, endianness="big")
    return data.to_numpy()
