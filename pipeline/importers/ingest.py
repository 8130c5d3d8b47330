"""All inputs of a run to frames of raw events and rejects: the one way in, whatever the format."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from pipeline.config import EventsConfig
from pipeline.errors import ConfigError, InputError, unknown_name
from pipeline.importers.base import Batch, Message, RawEvent, Reject, Source
from pipeline.importers.files import FileSource, take_sample
from pipeline.importers.hub import HubSource
from pipeline.importers.inputs import Inputs, expand_inputs
from pipeline.importers.registry import IMPORTERS, format_of
from pipeline.tables import MESSAGES, polars_schema

_USER_ID_LENGTH: Final = 16
_EVENT_TYPES: Final = polars_schema("events")
RAW_EVENTS: Final = pl.Schema(
    [
        ("source_event_id", pl.String()),
        *((name, dtype) for name, dtype in _EVENT_TYPES.items() if name not in ("event_id", "deliveries")),
    ]
)


class Plan(NamedTuple):
    """One source and how it is read; `format` is None where the source is refused, and why is in `refusal`.

    Sources of a format whose votes and texts may lie in different ones are one plan: the rest of them is `beside`.
    """

    source: Source
    format: str | None
    refusal: str = ""
    beside: tuple[Source, ...] = ()


class RawBatch(NamedTuple):
    """A bounded number of rows as frames.

    Attributes:
        events: Schema `RAW_EVENTS`; users are pseudonyms already.
        rejects: Table `rejects`, unsorted.
        records: Rows read.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    records: int


def plan(inputs: Inputs, config: EventsConfig) -> list[Plan]:
    """Which importer reads which source.

    Raises:
        ConfigError: The format is unknown, or an option belongs to none of the formats found.
        InputError: A file that the user named has fields that no format knows, or no file at all can be read.
    """
    if config.format != "auto" and config.format not in IMPORTERS:
        raise ConfigError(f"events.format: {unknown_name('format', config.format, ['auto', *IMPORTERS])}")
    plans: list[Plan] = []
    for file in inputs.files:
        source = FileSource(file.path, file.name, config.max_line_bytes)
        plans.append(_plan_file(source, file.explicit, config))
    plans.extend(Plan(HubSource(address, config.options), "hub") for address in inputs.addresses)
    if not any(entry.format for entry in plans):
        raise InputError(plans[0].refusal)
    _check_options(plans, config.options)
    return _read_together(plans)


def _read_together(plans: list[Plan]) -> list[Plan]:
    """The plans, those of one joined format as one."""
    found: dict[str, Plan] = {}
    for entry in plans:
        joined = entry.format is not None and IMPORTERS[entry.format].read_together is not None
        name = f"format {entry.format}" if joined else f"source {entry.source.name}"
        first = found.setdefault(name, entry)
        if first is not entry:
            found[name] = first._replace(beside=(*first.beside, entry.source))
    return list(found.values())


def _plan_file(source: FileSource, explicit: bool, config: EventsConfig) -> Plan:
    if config.format != "auto":
        return Plan(source, config.format)
    sample = take_sample(source)
    try:
        return Plan(source, format_of(sample, config.options))
    except InputError as error:
        # A file without one readable row is read all the same: each of its rows becomes a reject with its reason.
        if not sample.records:
            return Plan(source, "thumbs_jsonl")
        if explicit:
            raise
        return Plan(source, None, str(error))


def _check_options(plans: list[Plan], options: Mapping[str, str]) -> None:
    formats = sorted({entry.format for entry in plans if entry.format is not None})
    known = {name for format_name in formats for name in IMPORTERS[format_name].options}
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
    return chain.from_iterable(_read(entry, config) for entry in plans)


def _read(entry: Plan, config: EventsConfig) -> Iterator[RawBatch]:
    if entry.format is None:
        refused = Batch([], [Reject(0, "unknown_format", entry.refusal, "")], 1)
        yield _as_frames(refused, entry.source.name, "", config.user_key)
        return
    spec = IMPORTERS[entry.format]
    options = {name: value for name, value in config.options.items() if name in spec.options}
    if spec.read_together is not None:
        batches = spec.read_together([entry.source, *entry.beside], options)
    else:
        batches = ((entry.source.name, batch) for batch in spec.read(entry.source, options))
    for name, batch in batches:
        yield _as_frames(batch, name, entry.format, config.user_key)


def _as_frames(batch: Batch, name: str, format_name: str, user_key: str) -> RawBatch:
    columns = dict(zip(RawEvent._fields, zip(*batch.events, strict=True), strict=True)) if batch.events else {}
    columns = {"source_line": columns.pop("line"), **columns} if columns else {}
    apart = ("source_file", "format", "prompt")
    types = {column: dtype for column, dtype in RAW_EVENTS.items() if column not in apart}
    events = pl.DataFrame({column: columns.get(column, ()) for column in types}, schema=types).with_columns(
        _messages_column(columns.get("prompt", ())),
        pl.lit(name).alias("source_file"),
        pl.lit(format_name).alias("format"),
    )
    rejects = pl.DataFrame([(name, *reject) for reject in batch.rejects], schema=polars_schema("rejects"), orient="row")
    return RawBatch(_pseudonymised(events, user_key).select(list(RAW_EVENTS)), rejects, batch.records)


def _messages_column(prompts: Sequence[list[Message]]) -> pl.Series:
    """Message lists as a column; through Arrow, since polars builds a frame a message list on the way."""
    array = pa.array(prompts, pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.large_string())])))
    return pl.Series("prompt", array, dtype=MESSAGES)


def _pseudonymised(events: pl.DataFrame, user_key: str) -> pl.DataFrame:
    """Users as keyed hashes: without the key nobody can try names to find out who voted."""
    users = events["user_id"].drop_nulls().unique()
    pseudonyms = [pseudonym(user, user_key) for user in users]
    return events.with_columns(
        pl.col("user_id").replace_strict(users, pl.Series(pseudonyms, dtype=pl.String), return_dtype=pl.String)
    )


def pseudonym(user_id: str, user_key: str) -> str:
    """The first 16 hexadecimal digits of the HMAC-SHA256 of a user id."""
    return hmac.new(user_key.encode(), user_id.encode(), hashlib.sha256).hexdigest()[:_USER_ID_LENGTH]
