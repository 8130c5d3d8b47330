"""Rows of a run's inputs as frames of raw events and rejects, in batches of bounded size, whatever their format."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from ..config import EventsConfig
from ..importers import thumbs_jsonl
from ..importers.base import Batch, RawEvent
from ..importers.registry import importer
from ..reading.files import FileSource
from ..reading.inputs import expand_inputs
from ..reading.records import Reject
from ..reading.remarks import Remark, Remarks
from ..reading.streams import ByteRange, read_blocks
from ..storage.columns import message_lists
from ..tables import polars_schema
from .columns import RAW_EVENTS
from .event_ids import pseudonyms
from .fast_lines import LineReader
from .fast_parquet import RowGroups, read_parquet_fast
from .plan import FastWay, Plan, Unit, plan
from .rejected_users import stated_columns, without_users


class RawBatch(NamedTuple):
    """A bounded number of rows as frames.

    Attributes:
        source: Name of the source.
        events: Schema `RAW_EVENTS`; users are pseudonyms already.
        rejects: Table `rejects`, unsorted.
        records: Rows read.
        lines: Lines passed, blank ones included, where a part of a file is read; its line numbers begin at 1.
        remarks: What else was seen of rows that gave an event, counted.
    """

    source: str
    events: pl.DataFrame
    rejects: pl.DataFrame
    records: int
    lines: int = 0
    remarks: Mapping[Remark, int] = MappingProxyType({})


def read_inputs(config: EventsConfig) -> Iterator[RawBatch]:
    """All rows of a run's inputs, in batches of bounded size.

    Raises:
        ConfigError: A format or an option does not hold.
        InputError: An input stands for nothing, or its columns are not clear.
    """
    plans = plan(expand_inputs(config.inputs), config)
    return chain.from_iterable(read_unit(Unit(0, entry, None), config) for entry in plans)


def read_unit(unit: Unit, config: EventsConfig) -> Iterator[RawBatch]:
    """All rows of a unit, in batches of bounded size."""
    entry = unit.plan
    if entry.format is None:
        refused = Batch([], [Reject(0, "unknown_format", entry.refusal, "")], 0)
        yield _as_frames(refused, entry.source.name, "", config)
    elif entry.fast is not None and isinstance(entry.source, FileSource):
        yield from _read_fast(entry.source, entry.fast, unit.part, config)
    else:
        for name, batch in _read_exactly(entry, entry.format):
            yield _as_frames(batch, name, entry.format, config)


def _read_exactly(entry: Plan, format_name: str) -> Iterator[tuple[str, Batch]]:
    """Batches of an importer, each with its source's name."""
    spec, options = importer(format_name), entry.options
    if spec.read_together is not None:
        return spec.read_together([entry.source, *entry.beside], options)
    return ((entry.source.name, batch) for batch in spec.read(entry.source, options))


def _read_fast(
    source: FileSource, way: FastWay, part: ByteRange | RowGroups | None, config: EventsConfig
) -> Iterator[RawBatch]:
    read: Iterator[tuple[pl.DataFrame | None, Batch, Mapping[Remark, int], int]]
    if source.is_parquet:
        groups = part if isinstance(part, RowGroups) else None
        read = read_parquet_fast(source.path, way.layout, groups, source.max_line_bytes)
    else:
        lines = part if isinstance(part, ByteRange) else None
        reader = LineReader(way.layout, way.fields)
        blocks = read_blocks(source.path, source.max_line_bytes, lines)
        read = ((*reader.read(block), block.first - 1 + len(block.lines)) for block in blocks)
    for events, others, seen, passed in read:
        rest = _as_frames(others, source.name, thumbs_jsonl.NAME, config)
        if events is None:
            yield rest._replace(lines=passed)
            continue
        fast = _completed(events, source.name, thumbs_jsonl.NAME, config.user_key)
        both = pl.concat([fast, rest.events]) if len(rest.events) else fast
        remarks = Remarks(seen) + Remarks(rest.remarks)
        yield RawBatch(source.name, both, rest.rejects, rest.records + fast.height, passed, remarks)


def _as_frames(batch: Batch, name: str, format_name: str, config: EventsConfig) -> RawBatch:
    # The columns of no event take as long to make as those of a hundred, and most blocks of a log have none here.
    made = _raw_events(batch.events, name, format_name, config) if batch.events else RAW_EVENTS.to_frame()
    stated = stated_columns(config.options)
    rows = [
        (name, row.line, row.reason, row.detail, without_users(row, config.user_key, stated)) for row in batch.rejects
    ]
    rejects = pl.DataFrame(rows, schema=polars_schema("rejects"), orient="row")
    return RawBatch(name, made, rejects, batch.records, remarks=batch.remarks)


def _raw_events(rows: Sequence[RawEvent], name: str, format_name: str, config: EventsConfig) -> pl.DataFrame:
    columns = dict(zip(RawEvent._fields, zip(*rows, strict=True), strict=True))
    columns["source_line"] = columns.pop("line")
    prompts = message_lists("prompt", columns.pop("prompt"))
    types = {column: dtype for column, dtype in RAW_EVENTS.items() if column in columns}
    events = pl.DataFrame({column: columns[column] for column in types}, schema=types).with_columns(prompts)
    return _completed(events, name, format_name, config.user_key)


def _completed(events: pl.DataFrame, name: str, format_name: str, user_key: str) -> pl.DataFrame:
    """All columns of raw events. Users are keyed hashes: without the key nobody can find out who voted."""
    made = {column: pl.lit(None, dtype=dtype) for column, dtype in RAW_EVENTS.items()}
    made |= {column: pl.col(column) for column in events.columns}
    made |= {"source_file": pl.lit(name), "format": pl.lit(format_name)}
    return events.with_columns(pseudonyms(events["user_id"], user_key)).select(
        made[column].alias(column) for column in RAW_EVENTS
    )
