"""All inputs of a run to frames of raw events and rejects: the one way in, whatever the format."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from ..config import EventsConfig
from ..errors import ConfigError, InputError, unknown_name
from ..importers import thumbs_jsonl
from ..importers.base import Batch, Message, RawEvent
from ..importers.registry import format_of, importer
from ..reading.files import FileSource, take_sample
from ..reading.hub import HubSource
from ..reading.inputs import Inputs, expand_inputs
from ..reading.records import Reject, Sample, Source
from ..reading.streams import ByteRange, is_compressed, read_blocks
from ..tables import MESSAGES, polars_schema
from .fast_lines import LineReader
from .fast_parquet import RowGroups, has_plain_columns, read_parquet_fast, row_group_parts

_USER_ID_BYTES: Final = 8
_EVENT_TYPES: Final = polars_schema("events")
# What the events stage makes of raw events.
_MADE_LATER: Final = ("event_id", "prompt_id", "response_id", "deliveries")
RAW_EVENTS: Final = pl.Schema(
    [
        ("source_event_id", pl.String()),
        *((name, dtype) for name, dtype in _EVENT_TYPES.items() if name not in _MADE_LATER),
    ]
)


class FastWay(NamedTuple):
    """What reading a product log's lines fast takes: its layout, and the fields of a usual line."""

    layout: thumbs_jsonl.Layout
    fields: list[str]


class Plan(NamedTuple):
    """One source and how it is read.

    Attributes:
        source: Where the rows come from.
        format: Name of the importer; None where the source is refused.
        refusal: Why it is refused.
        fast: Set where lines can be read many at a time.
        beside: The other sources of a format whose votes and texts may lie in different ones.
    """

    source: Source
    format: str | None
    refusal: str = ""
    fast: FastWay | None = None
    beside: tuple[Source, ...] = ()


class Unit(NamedTuple):
    """A part of a source that is read in one go.

    Attributes:
        number: Its place among all units: by name of the source, then by place in it.
        plan: The source, and how it is read.
        part: Which lines or row groups of the file; None: the whole source.
    """

    number: int
    plan: Plan
    part: ByteRange | RowGroups | None

    @property
    def content_bytes(self) -> int:
        """About how much there is to read: what a file takes on disk, or what its row groups hold."""
        if isinstance(self.part, RowGroups):
            return self.part.content_bytes
        if self.part is not None:
            return self.part.stop - self.part.start
        sources = (self.plan.source, *self.plan.beside)
        return sum(source.path.stat().st_size for source in sources if isinstance(source, FileSource))


class RawBatch(NamedTuple):
    """A bounded number of rows as frames.

    Attributes:
        source: Name of the source.
        events: Schema `RAW_EVENTS`; users are pseudonyms already.
        rejects: Table `rejects`, unsorted.
        records: Rows read.
        lines: Lines passed, blank ones included, where a part of a file is read; its line numbers begin at 1.
    """

    source: str
    events: pl.DataFrame
    rejects: pl.DataFrame
    records: int
    lines: int = 0


def plan(inputs: Inputs, config: EventsConfig) -> list[Plan]:
    """Which importer reads which source.

    Raises:
        ConfigError: The format is unknown, or an option belongs to none of the formats found.
        InputError: A file that the user named has fields that no format knows, or no file at all can be read.
    """
    if config.format != "auto":
        _check_format(config.format)
    plans: list[Plan] = []
    for file in inputs.files:
        source = FileSource(file.path, file.name, config.max_line_bytes)
        plans.append(_plan_file(source, file.explicit, config))
    plans.extend(Plan(HubSource(address, config.options), "hub") for address in inputs.addresses)
    if not any(entry.format for entry in plans):
        raise InputError(plans[0].refusal)
    _check_options(plans, config.options)
    return _read_together(plans)


def _check_format(name: str) -> None:
    try:
        importer(name)
    except ConfigError as error:
        raise ConfigError(f"events.format: {error}") from error


def _read_together(plans: list[Plan]) -> list[Plan]:
    """The plans, those of one joined format as one."""
    found: dict[str, Plan] = {}
    for entry in plans:
        joined = entry.format is not None and importer(entry.format).read_together is not None
        name = f"format {entry.format}" if joined else f"source {entry.source.name}"
        first = found.setdefault(name, entry)
        if first is not entry:
            found[name] = first._replace(beside=(*first.beside, entry.source))
    return list(found.values())


def _plan_file(source: FileSource, explicit: bool, config: EventsConfig) -> Plan:
    if config.format not in ("auto", thumbs_jsonl.NAME):
        return Plan(source, config.format)
    sample = take_sample(source)
    try:
        format_name = format_of(sample, config.options) if config.format == "auto" else config.format
    except InputError as error:
        # A file without one readable row is read all the same: each of its rows becomes a reject with its reason.
        if sample.records:
            if explicit:
                raise
            return Plan(source, None, str(error))
        format_name = thumbs_jsonl.NAME
    return Plan(source, format_name, fast=_fast_way(source, format_name, sample, config))


def _fast_way(source: FileSource, format_name: str, sample: Sample, config: EventsConfig) -> FastWay | None:
    if format_name != thumbs_jsonl.NAME or not sample.records:
        return None
    layout = thumbs_jsonl.layout_of(sample, _own_options(format_name, config))
    plain = has_plain_columns(source.path, layout) if source.is_parquet else source.holds_lines
    return FastWay(layout, list(sample.records[0])) if plain and not layout.linked else None


def _own_options(format_name: str, config: EventsConfig) -> dict[str, str]:
    return {name: value for name, value in config.options.items() if name in importer(format_name).options}


def _check_options(plans: list[Plan], options: Mapping[str, str]) -> None:
    formats = sorted({entry.format for entry in plans if entry.format is not None})
    known = {name for format_name in formats for name in importer(format_name).options}
    for name in options:
        if name not in known:
            kind = f"option of {' or '.join(formats)}"
            raise ConfigError(f"events.options: {unknown_name(kind, name, known or ['none'])}")


def read_inputs(config: EventsConfig) -> Iterator[RawBatch]:
    """All rows of a run's inputs, in batches of bounded size.

    Raises:
        ConfigError: A format or an option does not hold.
        InputError: An input stands for nothing, or its columns are not clear.
    """
    plans = plan(expand_inputs(config.inputs), config)
    return chain.from_iterable(read_unit(Unit(0, entry, None), config) for entry in plans)


def units(plans: list[Plan], unit_bytes: int) -> list[Unit]:
    """The plans in parts of about `unit_bytes`, where a source can be read in parts."""
    parts = [
        (entry, part)
        for entry in sorted(plans, key=lambda entry: entry.source.name)
        for part in _parts(entry, unit_bytes) or [None]
    ]
    return [Unit(number, entry, part) for number, (entry, part) in enumerate(parts)]


def _parts(entry: Plan, unit_bytes: int) -> Sequence[ByteRange | RowGroups | None]:
    """The parts of one source; none where it is read as a whole."""
    source = entry.source
    if entry.fast is None or not isinstance(source, FileSource) or is_compressed(source.path):
        return []
    if source.is_parquet:
        return row_group_parts(source.path, unit_bytes)
    size = source.path.stat().st_size
    starts = range(0, size, unit_bytes) if size > unit_bytes else range(0)
    return [ByteRange(start, min(start + unit_bytes, size)) for start in starts]


def read_unit(unit: Unit, config: EventsConfig) -> Iterator[RawBatch]:
    """All rows of a unit, in batches of bounded size."""
    entry = unit.plan
    if entry.format is None:
        refused = Batch([], [Reject(0, "unknown_format", entry.refusal, "")], 1)
        yield _as_frames(refused, entry.source.name, "", config.user_key)
    elif entry.fast is not None and isinstance(entry.source, FileSource):
        yield from _read_fast(entry.source, entry.fast, unit.part, config)
    else:
        for name, batch in _read_exactly(entry, entry.format, config):
            yield _as_frames(batch, name, entry.format, config.user_key)


def _read_exactly(entry: Plan, format_name: str, config: EventsConfig) -> Iterator[tuple[str, Batch]]:
    """Batches of an importer, each with its source's name."""
    spec, options = importer(format_name), _own_options(format_name, config)
    if spec.read_together is not None:
        return spec.read_together([entry.source, *entry.beside], options)
    return ((entry.source.name, batch) for batch in spec.read(entry.source, options))


def _read_fast(
    source: FileSource, way: FastWay, part: ByteRange | RowGroups | None, config: EventsConfig
) -> Iterator[RawBatch]:
    read: Iterator[tuple[pl.DataFrame | None, Batch, int]]
    if source.is_parquet:
        groups = part if isinstance(part, RowGroups) else None
        read = read_parquet_fast(source.path, way.layout, groups, source.max_line_bytes)
    else:
        lines = part if isinstance(part, ByteRange) else None
        reader = LineReader(way.layout, way.fields)
        blocks = read_blocks(source.path, source.max_line_bytes, lines)
        read = ((*reader.read(block), block.first - 1 + len(block.lines)) for block in blocks)
    for events, others, passed in read:
        rest = _as_frames(others, source.name, thumbs_jsonl.NAME, config.user_key)
        if events is None:
            yield rest._replace(lines=passed)
            continue
        fast = _completed(events, source.name, thumbs_jsonl.NAME, config.user_key)
        both = pl.concat([fast, rest.events]) if len(rest.events) else fast
        yield RawBatch(source.name, both, rest.rejects, rest.records + fast.height, passed)


def _as_frames(batch: Batch, name: str, format_name: str, user_key: str) -> RawBatch:
    columns = dict(zip(RawEvent._fields, zip(*batch.events, strict=True), strict=True)) if batch.events else {}
    columns = {"source_line": columns.pop("line"), **columns} if columns else {}
    apart = ("source_file", "format", "prompt")
    types = {column: dtype for column, dtype in RAW_EVENTS.items() if column not in apart}
    events = pl.DataFrame({column: columns.get(column, ()) for column in types}, schema=types).with_columns(
        _messages_column(columns.get("prompt", ()))
    )
    rejects = pl.DataFrame([(name, *reject) for reject in batch.rejects], schema=polars_schema("rejects"), orient="row")
    return RawBatch(name, _completed(events, name, format_name, user_key), rejects, batch.records)


def _messages_column(prompts: Sequence[list[Message]]) -> pl.Series:
    """Message lists as a column; through Arrow, since polars builds a frame a message list on the way."""
    array = pa.array(prompts, pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.large_string())])))
    return pl.Series("prompt", array, dtype=MESSAGES)


def _completed(events: pl.DataFrame, name: str, format_name: str, user_key: str) -> pl.DataFrame:
    """All columns of raw events. Users are keyed hashes: without the key nobody can find out who voted."""
    users = [None if user is None else pseudonym(user, user_key) for user in events["user_id"].to_list()]
    made = {column: pl.lit(None, dtype=dtype) for column, dtype in RAW_EVENTS.items()}
    made |= {column: pl.col(column) for column in events.columns}
    made |= {"source_file": pl.lit(name), "format": pl.lit(format_name)}
    return events.with_columns(pl.Series("user_id", users, dtype=pl.String)).select(
        made[column].alias(column) for column in RAW_EVENTS
    )


def pseudonym(user_id: str, user_key: str) -> str:
    """16 hexadecimal digits of the keyed BLAKE2b (RFC 7693) of a user id: 64 bits."""
    mac = _mac(user_key).copy()
    mac.update(user_id.encode())
    return mac.hexdigest()


@lru_cache(maxsize=1)
def _mac(user_key: str) -> blake2b:
    """The hash that has taken the key; one that is longer than BLAKE2b takes goes by its digest."""
    key = user_key.encode()
    short = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
    return blake2b(key=short, digest_size=_USER_ID_BYTES)
