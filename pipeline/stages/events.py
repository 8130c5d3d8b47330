"""Raw logs to events: one row a feedback event, whatever logged it, and every unusable row with its reason.

An event is named by its content: the format, the log's own event id where it has one, and every field. So the same
event delivered twice, in one file or in two, is one event whose `deliveries` count both; the first by file and line
is kept. Two different contents under one event id of the log stay two events, and are counted in the notes: which of
them is right is for the votes' order to say, not for the reader. A log without event ids, times and users cannot tell
one vote delivered twice from two equal votes; it is read as the former.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from pipeline.artifacts import Counts, cached_digest
from pipeline.config import EventsConfig, RunConfig
from pipeline.context import StageContext, StageResult
from pipeline.identity import digest, joined
from pipeline.importers import hub
from pipeline.importers.ingest import RAW_EVENTS, RawBatch, read_inputs
from pipeline.importers.inputs import expand_inputs
from pipeline.tables import polars_schema

VERSION: Final = 2
INPUTS: Final = ()
OUTPUTS: Final = ("events", "rejects")

_NAMED_BY: Final = (
    "source_event_id",
    "conversation_id",
    "user_id",
    "model",
    "comparison_id",
    "comparison_kind",
    "propensity",
    "position",
)


class EventsResult(NamedTuple):
    """What the inputs gave.

    Attributes:
        events: Table `events`, sorted by event_id.
        rejects: Table `rejects`, sorted by source_file, source_line, reason.
        counts: An event that was read is one row in, and so is a reject.
        notes: Rows read, and events and rejects by format, vote and reason.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    counts: Counts
    notes: dict[str, Any]


def transform(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Table `events`: ids made, equal deliveries merged, sorted by id.

    Args:
        raw: Schema `importers.ingest.RAW_EVENTS`, in any order.
    """
    kept = [name for name in polars_schema("events") if name not in ("event_id", "deliveries")]
    return (
        raw.with_columns(event_id=_event_id())
        .sort("event_id", "source_file", "source_line")
        .group_by("event_id", maintain_order=True)
        .agg(pl.col(kept).first(), pl.len().cast(pl.Int64).alias("deliveries"))
        .select(list(polars_schema("events")))
    )


def _event_id() -> pl.Expr:
    """Digest of all that an event says; where it was read is not part of it."""
    role, content = pl.element().struct.field("role"), pl.element().struct.field("content")
    prompt = pl.col("prompt").list.eval(joined(role, content)).list.join("")
    optional = [_optional(pl.col(name).cast(pl.String)) for name in _NAMED_BY]
    time_us = _optional(pl.col("created_at").dt.epoch("us").cast(pl.String))
    return digest(
        joined(pl.col("format"), *optional, time_us, prompt, pl.col("completion"), pl.col("vote").cast(pl.String))
    )


def _optional(text: pl.Expr) -> pl.Expr:
    """A text that may be missing, so that missing and empty differ."""
    return pl.concat_str(pl.lit("="), text).fill_null("")


def ingest(config: EventsConfig) -> EventsResult:
    """Read all inputs.

    Raises:
        InputError: An input stands for nothing, or its columns are not clear.
        ConfigError: The format or an option does not hold.
        TableError: Rows were lost, which is a fault of an importer.
    """
    batches = list(read_inputs(config))
    raw = pl.concat([batch.events for batch in batches]) if batches else RAW_EVENTS.to_frame()
    rejects = _sorted_rejects(batches)
    events = transform(raw.lazy()).collect()
    counts = Counts(
        rows_in=raw.height + rejects.height,
        rows_out=events.height,
        merged=int((events["deliveries"] - 1).sum()),
        rejected=rejects.height,
    )
    counts.check("events")
    notes = _notes(raw, events, rejects)
    return EventsResult(events, rejects, counts, {"records": sum(batch.records for batch in batches), **notes})


def _sorted_rejects(batches: list[RawBatch]) -> pl.DataFrame:
    schema = polars_schema("rejects")
    frames = [batch.rejects for batch in batches]
    return (pl.concat(frames) if frames else schema.to_frame()).sort(list(schema))


def _notes(raw: pl.DataFrame, events: pl.DataFrame, rejects: pl.DataFrame) -> dict[str, Any]:
    return {
        "formats": _value_counts(events["format"]),
        "votes": _value_counts(events["vote"]),
        "reject_reasons": _value_counts(rejects["reason"]),
        "files": raw["source_file"].n_unique(),
        "users": events["user_id"].drop_nulls().n_unique(),
        "openers": events.filter(pl.col("prompt").list.len() == 0).height,
        "source_event_ids_with_several_contents": _contradicted_ids(raw),
    }


def _contradicted_ids(raw: pl.DataFrame) -> int:
    """Event ids of the logs that stand for more than one content."""
    named = raw.lazy().filter(pl.col("source_event_id").is_not_null()).with_columns(event_id=_event_id())
    contents = named.group_by("format", "source_event_id").agg(pl.col("event_id").n_unique().alias("contents"))
    return contents.filter(pl.col("contents") > 1).collect().height


def _value_counts(values: pl.Series) -> dict[str, int]:
    return {str(value): count for value, count in values.value_counts().sort(values.name).iter_rows()}


def input_digests(config: EventsConfig) -> dict[str, str]:
    """The digest of every input's content by its name: SHA-256 of a file, id and revision of a hub data set.

    A file's digest is kept in the user's cache under its path, size and time of change, so that asking again is cheap.
    """
    inputs = expand_inputs(config.inputs)
    digests = {file.name: cached_digest(file.path) for file in inputs.files}
    return digests | {address: hub.digest(address, config.options) for address in inputs.addresses}


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the inputs' content."""
    return input_digests(config.events)


def run(context: StageContext) -> StageResult:
    """Read the logs, write `events` and `rejects`."""
    result = ingest(context.config.events)
    return StageResult(
        outputs={"events": context.write("events", result.events), "rejects": context.write("rejects", result.rejects)},
        counts=result.counts,
        notes=result.notes,
    )
