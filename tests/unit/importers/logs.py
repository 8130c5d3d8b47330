"""Write a small log, read it, and look at what came out in the log's order."""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.columns import RAW_EVENTS
from thumbline.pipeline.ingest.frames import RawBatch, read_inputs
from thumbline.pipeline.stages.events import EventsResult, ingest, transform
from thumbline.pipeline.tables import polars_schema, validate

# Real logs lie beside the repository, or where this variable says.
SHARED = Path(os.environ.get("THUMBLINE_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data")

_NO_EVENTS = RAW_EVENTS.to_frame()


def message(role: str, content: str, extra: str | None = None) -> dict[str, str | None]:
    """A message as tables have it; as a log's own message it says no more than role and content either."""
    return {"role": role, "content": content, "extra": extra}


def user(content: str) -> dict[str, str | None]:
    return message("user", content)


def assistant(content: str) -> dict[str, str | None]:
    return message("assistant", content)


def system(content: str) -> dict[str, str | None]:
    return message("system", content)


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **config: Any) -> EventsResult:
    """Everything that a file gives, as it would be written."""
    return checked(EventsConfig.model_validate({"inputs": [str(path)], **config}))


def checked(config: EventsConfig) -> EventsResult:
    """What inputs give: the tables hold, and the rows add up."""
    result = ingest(config)
    validate("events", result.events)
    validate("rejects", result.rejects)
    result.counts.check("events")
    return result


class RawLogs:
    """Many logs read one by one, whose tables are made and checked once for all of them."""

    def __init__(self) -> None:
        self.rows = 0
        self._batches: list[RawBatch] = []

    def read(self, config: EventsConfig) -> pl.DataFrame:
        """The raw events of a log."""
        batches = list(read_inputs(config))
        self.add(batches)
        return pl.concat([_NO_EVENTS, *(batch.events for batch in batches)])

    def add(self, batches: list[RawBatch]) -> None:
        """A log that was read."""
        self._batches += batches
        self.rows += sum(len(batch.events) + len(batch.rejects) for batch in batches)

    def check_tables(self) -> None:
        """The tables of all logs hold, and no row is lost."""
        raw = pl.concat([_NO_EVENTS, *(batch.events for batch in self._batches)])
        rejects = pl.concat([polars_schema("rejects").to_frame(), *(batch.rejects for batch in self._batches)])
        events = transform(raw)
        validate("events", events)
        validate("rejects", rejects.sort("source_file", "source_line", "reason"))
        assert events["deliveries"].sum() + len(rejects) == self.rows


def read_lines(folder: Path, *rows: object, **config: Any) -> EventsResult:
    return read(write_lines(folder / "log.jsonl", *rows), **config)


def votes(result: EventsResult) -> list[tuple[str, str]]:
    """Every event's completion and vote, sorted."""
    return sorted(result.events.select("completion", "vote").rows())


def reasons(result: EventsResult) -> list[str]:
    return result.rejects["reason"].to_list()


def comparisons(result: EventsResult) -> list[tuple[str, ...]]:
    """Every comparison as its kind and its two sides, a side as its vote and completion; sorted."""
    sides = result.events.filter(pl.col("comparison_id").is_not_null()).sort("vote", "completion")
    grouped = sides.group_by("comparison_id", maintain_order=True).agg(
        pl.col("comparison_kind").cast(pl.String).unique(), pl.format("{}: {}", "vote", "completion").alias("sides")
    )
    return sorted((*kinds, *both) for _, kinds, both in grouped.iter_rows())
