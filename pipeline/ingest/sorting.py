"""Inputs of any size to events sorted by their ids, with a bounded part of them in memory.

First every unit of the inputs is read, by as many processes as there are, and its rows are written to disk by bucket
of their prompt's id: events without their texts, and the texts of each answer once a memory full of events. Then the
buckets are read back one after the other; equal deliveries and texts of one answer, which are always in one bucket, are
merged, and the rest is sorted. Ids decide order and bucket, so neither the number of processes or buckets nor the order
of the inputs shows in the result.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl

from ..config import EventsConfig
from ..evidence.answers import FIRST_TEXTS, first_texts, with_one_prompt_each
from ..reading.remarks import Remarks
from ..storage.arrays import ArrayFile
from ..storage.buckets import BucketFile, BucketWriter, bucket_passes, buckets_of_ids, read_buckets
from ..storage.columns import gathered_rows
from ..storage.tables import side_by_side, whole_prompts
from ..tables import polars_schema
from ..workers import map_in_threads
from .columns import STORED_EVENTS, STORED_REJECTS, UNIT
from .event_ids import with_ids
from .frames import RawBatch, read_unit
from .plan import Unit

ORDER: Final = ("prompt_id", "response_id", "event_id")
_ANSWERS: Final = ("prompt_id", "response_id")
_EVENTS: Final = polars_schema("events").to_frame()
_STORED_TEXTS: Final = pl.Schema({name: polars_schema("events", optional=True)[name] for name in FIRST_TEXTS})
_HELD: Final = list(dict.fromkeys([*STORED_EVENTS.names(), *FIRST_TEXTS]))
_NO_REJECTS: Final = polars_schema("rejects").to_frame()
# The number of a unit's source is that of the unit times this, and its place in it.
_SOURCES_PER_UNIT: Final = 1 << 24
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


def merged(identified: pl.DataFrame) -> pl.DataFrame:
    """Table `events`, or those of its columns that are there: equal deliveries merged, sorted by `ORDER`.

    Of deliveries the first by file and line is kept.
    """
    order = identified.select(pl.arg_sort_by(*ORDER, "source_file", "source_line")).to_series()
    ids = identified["event_id"].gather(order)
    first = (ids != ids.shift(1)).fill_null(True).arg_true()
    # The rows up to the next first one are its deliveries.
    ends = first.shift(-1, fill_value=len(ids)).cast(pl.Int64)
    counted = gathered_rows(identified, order.gather(first).to_numpy())
    return counted.with_columns(deliveries=ends - first.cast(pl.Int64)).select(
        name for name in polars_schema("events", optional=True) if name in counted.columns or name == "deliveries"
    )


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
    first = unit.number * _SOURCES_PER_UNIT
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
        self.events = self.texts = BucketFile([], None)
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
            rows = pl.concat(self._held)
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


class _Origins(NamedTuple):
    """Where rows are from: name and format of a source, and how many lines of its file come before the unit's."""

    numbers: pl.Series
    rows: pl.DataFrame

    def of(self, units: pl.Series) -> pl.DataFrame:
        return self.rows[self.numbers.search_sorted(units)]


def read_parts(written: Sequence[TaskFiles], pass_bytes: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Tables `events` and `texts` in their order, in parts of the same prompts; at least one part."""
    parts = side_by_side([read_events(written, pass_bytes), _read_texts(written, pass_bytes)])
    return ((events, texts) for events, texts in parts)


def read_events(written: Sequence[TaskFiles], pass_bytes: int) -> Iterator[pl.DataFrame]:
    """Table `events` in its order, in parts that no prompt crosses; at least one part.

    A part is a bucket, or what is read of one in a pass: no prompt is in two buckets.

    Args:
        written: What the tasks wrote.
        pass_bytes: How much of it is read at a time.
    """
    origins = _origins(written)

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        at = origins.of(frame[UNIT])
        line = (frame["source_line"] + at["lines_before"]).alias("source_line")
        return merged(frame.with_columns(at["source_file"], at["format"], line))

    passes = bucket_passes([entry.events for entry in written], STORED_EVENTS, ORDER, pass_bytes)
    return _by_prompt(passes, made, _EVENTS)


def _read_texts(written: Sequence[TaskFiles], pass_bytes: int) -> Iterator[pl.DataFrame]:
    """Table `texts` in parts as `read_events` gives them."""

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        first = first_texts(frame)
        return gathered_rows(first, first.select(pl.arg_sort_by(*_ANSWERS)).to_series().to_numpy())

    # All texts of an answer are in one pass; of a prompt in several, and only then its spelling is known.
    passes = bucket_passes([entry.texts for entry in written], _STORED_TEXTS, _ANSWERS, pass_bytes)
    return map(with_one_prompt_each, _by_prompt(passes, made, _STORED_TEXTS.to_frame()))


def _by_prompt(
    passes: Iterator[tuple[int, pl.DataFrame]], make: Callable[[pl.DataFrame], pl.DataFrame], none: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """What is made of each pass, in parts that no prompt crosses; `none` where there is no pass."""
    made = map_in_threads(lambda read: (read[0], make(read[1])), passes)
    parts = (whole_prompts(rows for _, rows in own) for _, own in groupby(made, key=itemgetter(0)))
    first = next(parts, None)
    if first is None:
        yield none
        return
    yield from chain.from_iterable(chain([first], parts))


def read_rejects(written: Sequence[TaskFiles]) -> Iterator[pl.DataFrame]:
    """Table `rejects` in its order, a task at a time; all at once where a unit has several sources."""
    origins = _origins(written)
    tasks = chain.from_iterable(read_buckets([entry.rejects], STORED_REJECTS) for entry in written)
    parts = (_with_origins(rejects, origins) for rejects in tasks)
    if all(count.number % _SOURCES_PER_UNIT == 0 for entry in written for count in entry.units):
        yield from parts
    else:
        yield pl.concat([_NO_REJECTS, *parts]).sort(_NO_REJECTS.columns)


def _with_origins(rejects: pl.DataFrame, origins: _Origins) -> pl.DataFrame:
    at = origins.of(rejects[UNIT])
    # Line 0 stands for the whole source.
    line = pl.when(rejects["source_line"] > 0).then(rejects["source_line"] + at["lines_before"]).otherwise(0)
    return rejects.with_columns(at["source_file"], source_line=line).select(_NO_REJECTS.columns)


def _origins(written: Sequence[TaskFiles]) -> _Origins:
    counts = sorted(count for entry in written for count in entry.units)
    schema = {"source_file": pl.String, "format": pl.String, "lines_before": pl.Int64}
    rows: list[tuple[str, str, int]] = []
    for _, parts in groupby(counts, key=lambda count: count.source_file):
        before = 0
        for part in parts:
            rows.append((part.source_file, part.format, before))
            before += part.lines
    numbers = pl.Series([count.number for count in counts], dtype=pl.Int64)
    return _Origins(numbers, pl.DataFrame(rows, schema=schema, orient="row"))
