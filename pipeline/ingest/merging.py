"""What `sorting` wrote by buckets, read back in order: all of it, or a share of it in a task of a cluster.

Buckets are read one after the other; equal deliveries and texts of one answer, which are always in one bucket, are
merged, and the rest is sorted. A prompt that holds much of a log comes in several parts, each of whole answers.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import polars as pl

from ..evidence.answers import FIRST_TEXTS, first_texts, with_one_prompt_each, with_prompt
from ..storage.buckets import bucket_passes, read_batches, read_buckets
from ..storage.columns import copied_strings, gathered_rows
from ..storage.tables import side_by_side, whole_groups
from ..tables import polars_schema
from ..workers import map_in_threads
from .columns import STORED_EVENTS, STORED_REJECTS, UNIT
from .sorting import SOURCES_PER_UNIT, TaskFiles
from .stored import Segment, Stored, laid_out, segments

ORDER: Final = ("prompt_id", "response_id", "event_id")
_ANSWERS: Final = ("prompt_id", "response_id")
_EVENTS: Final = polars_schema("events").to_frame()
_TEXTS: Final = polars_schema("texts").to_frame()
_STORED_TEXTS: Final = pl.Schema({name: polars_schema("events", optional=True)[name] for name in FIRST_TEXTS})
_NO_REJECTS: Final = polars_schema("rejects").to_frame()


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


_Item = TypeVar("_Item")
Piece = Literal["whole", "begun", "ended"]


class Part(NamedTuple):
    """Tables of some prompts, or of some answers of one.

    Attributes:
        events: Table `events`.
        texts: Table `texts`.
        piece: "whole": of all answers of the prompts; "begun": of some answers of one prompt, whose others follow;
            "ended": of the last of them.
    """

    events: pl.DataFrame
    texts: pl.DataFrame
    piece: Piece

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by their names."""
        return {"events": self.events, "texts": self.texts}


def origins(written: Sequence[TaskFiles]) -> pl.DataFrame:
    """Of each source's number: its name, its format, and how many lines of its file come before the unit's."""
    counts = sorted(count for entry in written for count in entry.units)
    schema = {"number": pl.Int64, "source_file": pl.String, "format": pl.String, "lines_before": pl.Int64}
    rows: list[tuple[int, str, str, int]] = []
    for _, parts in groupby(counts, key=lambda count: count.source_file):
        before = 0
        for part in parts:
            rows.append((part.number, part.source_file, part.format, before))
            before += part.lines
    return pl.DataFrame(rows, schema=schema, orient="row")


def _origins_of(units: pl.Series, known: pl.DataFrame) -> pl.DataFrame:
    return known[known["number"].search_sorted(units)]


def read_parts(
    files: Stored, known: pl.DataFrame, pass_bytes: int, folder: Path, threads: int | None = None
) -> Iterator[Part]:
    """Tables `events` and `texts` in their order; at least one part.

    The arguments are those of `read_events`.
    """
    laid = _laid_out(files, pass_bytes, folder)
    parts = (part for segment in laid for part in _read_segment(segment, known, pass_bytes, threads))
    return _or_one(parts, Part(_EVENTS, _TEXTS, "whole"))


def _laid_out(files: Stored, pass_bytes: int, folder: Path) -> Iterator[Segment]:
    """All segments, each laid out until the next one is asked for."""
    for segment in segments(files, pass_bytes):
        with laid_out(segment, folder, pass_bytes) as rows:
            yield rows


def _or_one(parts: Iterator[_Item], none: _Item) -> Iterator[_Item]:
    """The parts, or `none` where there are none."""
    yield next(parts, none)
    yield from parts


def _read_segment(segment: Segment, known: pl.DataFrame, pass_bytes: int, threads: int | None) -> Iterator[Part]:
    tables = [_read_events(segment, known, pass_bytes, threads), _read_texts(segment, pass_bytes, threads)]
    parts = side_by_side(tables, segment.column)
    pieces: Iterator[Part] = (Part(events, texts, "begun") for events, texts in parts if events.height)
    if segment.prompt is None:
        yield from (part._replace(piece="whole") for part in pieces)
        return
    held, begun = next(pieces), False
    for part in pieces:
        yield held
        held, begun = part, True
    yield held._replace(piece="ended" if begun else "whole")


def read_events(
    files: Stored, known: pl.DataFrame, pass_bytes: int, folder: Path, threads: int | None = None
) -> Iterator[pl.DataFrame]:
    """Table `events` in its order, in parts that no answer crosses; at least one part.

    Args:
        files: What is to be read.
        known: What `origins` gave for the whole log.
        pass_bytes: How much of it is read at a time.
        folder: Where rows may lie meanwhile.
        threads: So many parts are made ahead; None: as many as there are cores.
    """
    laid = _laid_out(files, pass_bytes, folder)
    return _or_one((part for segment in laid for part in _read_events(segment, known, pass_bytes, threads)), _EVENTS)


def _read_events(segment: Segment, known: pl.DataFrame, pass_bytes: int, threads: int | None) -> Iterator[pl.DataFrame]:
    """Table `events` of a segment; at least one part."""

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        at = _origins_of(frame[UNIT], known)
        line = (frame["source_line"] + at["lines_before"]).alias("source_line")
        return merged(frame.with_columns(at["source_file"], at["format"], line))

    passes = bucket_passes([segment.files.events], STORED_EVENTS, ORDER, pass_bytes, segment.within)
    return _whole(segment, passes, made, _EVENTS, threads)


def _read_texts(segment: Segment, pass_bytes: int, threads: int | None) -> Iterator[pl.DataFrame]:
    """Table `texts` in parts as `_read_events` gives them."""

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        first = first_texts(frame)
        return gathered_rows(first, first.select(pl.arg_sort_by(*_ANSWERS)).to_series().to_numpy())

    passes = bucket_passes([segment.files.texts], _STORED_TEXTS, _ANSWERS, pass_bytes, segment.within)
    parts = _whole(segment, passes, made, _STORED_TEXTS.to_frame(), threads)
    if segment.prompt is None:
        # All texts of an answer are in one pass; of a prompt in several, and only then its spelling is known.
        return map(with_one_prompt_each, parts)
    spelled = _spelling(segment)
    return (with_prompt(part, spelled) for part in parts)


def _spelling(segment: Segment) -> pl.DataFrame:
    """The one row of the texts of a segment's prompt that has its smallest event id."""
    schema = pl.Schema({name: _STORED_TEXTS[name] for name in ("event_id", "prompt")})
    first = [copied_strings(rows.bottom_k(1, by="event_id")) for rows in read_batches(segment.files.texts, schema)]
    return pl.concat(first).bottom_k(1, by="event_id")


def _whole(
    segment: Segment,
    passes: Iterator[tuple[int, pl.DataFrame]],
    make: Callable[[pl.DataFrame], pl.DataFrame],
    none: pl.DataFrame,
    threads: int | None,
) -> Iterator[pl.DataFrame]:
    """What is made of each pass, in parts that no prompt crosses, or no answer; `none` where there is no pass."""
    made = map_in_threads(lambda read: (read[0], make(read[1])), passes, threads)
    parts = (whole_groups((rows for _, rows in own), segment.column) for _, own in groupby(made, key=itemgetter(0)))
    return _or_one(chain.from_iterable(parts), none)


def read_rejects(written: Sequence[TaskFiles]) -> Iterator[pl.DataFrame]:
    """Table `rejects` in its order, a task at a time; all at once where a unit has several sources."""
    known = origins(written)
    tasks = chain.from_iterable(read_buckets([entry.rejects], STORED_REJECTS) for entry in written)
    parts = (_with_origins(rejects, known) for rejects in tasks)
    if all(count.number % SOURCES_PER_UNIT == 0 for entry in written for count in entry.units):
        yield from parts
    else:
        yield pl.concat([_NO_REJECTS, *parts]).sort(_NO_REJECTS.columns)


def _with_origins(rejects: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    at = _origins_of(rejects[UNIT], known)
    # Line 0 stands for the whole source.
    line = pl.when(rejects["source_line"] > 0).then(rejects["source_line"] + at["lines_before"]).otherwise(0)
    return rejects.with_columns(at["source_file"], source_line=line).select(_NO_REJECTS.columns)
