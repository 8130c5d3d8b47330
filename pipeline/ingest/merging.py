"""What `sorting` wrote by buckets, read back in order: all of it, or a share of it in a task of a cluster.

Buckets are read one after the other; equal deliveries and texts of one answer, which are always in one bucket, are
merged, and the rest is sorted.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

import polars as pl

from ..evidence.answers import FIRST_TEXTS, first_texts, with_one_prompt_each
from ..storage.buckets import Batch, BucketFile, bucket_passes, read_buckets
from ..storage.columns import gathered_rows
from ..storage.tables import side_by_side, whole_prompts
from ..tables import polars_schema
from ..workers import map_in_threads
from .columns import STORED_EVENTS, STORED_REJECTS, UNIT
from .sorting import SOURCES_PER_UNIT, TaskFiles

ORDER: Final = ("prompt_id", "response_id", "event_id")
_ANSWERS: Final = ("prompt_id", "response_id")
_EVENTS: Final = polars_schema("events").to_frame()
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


class Stored(NamedTuple):
    """Rows of some prompts on disk.

    Attributes:
        events: Events without texts, by bucket.
        texts: Texts of their answers, by the same buckets.
    """

    events: BucketFile
    texts: BucketFile

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(batch.size for file in self for batch in file.batches)


def stored(written: Sequence[TaskFiles]) -> Stored:
    """All that the tasks wrote."""
    return Stored(_joined([entry.events for entry in written]), _joined([entry.texts for entry in written]))


def _joined(files: Sequence[BucketFile]) -> BucketFile:
    """The batches of several files as those of one, by bucket; of one bucket in the files' order."""
    batches = sorted((batch for file in files for batch in file.batches), key=attrgetter("bucket"))
    return BucketFile(batches, next((file.schema for file in files if file.batches), None))


def shares(whole: Stored, most_bytes: int) -> list[Stored]:
    """Rows cut into shares of consecutive buckets, in their order; none where there are no rows.

    Args:
        whole: What `stored` gave.
        most_bytes: A share has no more bytes than that, unless one bucket has.
    """
    by_bucket: dict[int, tuple[list[Batch], list[Batch]]] = {}
    for place, file in enumerate(whole):
        for batch in file.batches:
            by_bucket.setdefault(batch.bucket, ([], []))[place].append(batch)
    found: list[Stored] = []
    room = 0
    for _, (events, texts) in sorted(by_bucket.items()):
        size = sum(batch.size for batch in chain(events, texts))
        if size > room or not found:
            found.append(Stored(whole.events._replace(batches=[]), whole.texts._replace(batches=[])))
            room = most_bytes
        room -= size
        found[-1].events.batches.extend(events)
        found[-1].texts.batches.extend(texts)
    return found


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
    files: Stored, known: pl.DataFrame, pass_bytes: int, threads: int | None = None
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Tables `events` and `texts` in their order, in parts of the same prompts; at least one part.

    The arguments are those of `read_events`.
    """
    parts = side_by_side(
        [read_events(files, known, pass_bytes, threads), _read_texts(files.texts, pass_bytes, threads)]
    )
    return ((events, texts) for events, texts in parts)


def read_events(
    files: Stored, known: pl.DataFrame, pass_bytes: int, threads: int | None = None
) -> Iterator[pl.DataFrame]:
    """Table `events` in its order, in parts that no prompt crosses; at least one part.

    A part is a bucket, or what is read of one in a pass: no prompt is in two buckets.

    Args:
        files: What is to be read.
        known: What `origins` gave for the whole log.
        pass_bytes: How much of it is read at a time.
        threads: So many parts are made ahead; None: as many as there are cores.
    """

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        at = _origins_of(frame[UNIT], known)
        line = (frame["source_line"] + at["lines_before"]).alias("source_line")
        return merged(frame.with_columns(at["source_file"], at["format"], line))

    passes = bucket_passes([files.events], STORED_EVENTS, ORDER, pass_bytes)
    return _by_prompt(passes, made, _EVENTS, threads)


def _read_texts(file: BucketFile, pass_bytes: int, threads: int | None) -> Iterator[pl.DataFrame]:
    """Table `texts` in parts as `read_events` gives them."""

    def made(frame: pl.DataFrame) -> pl.DataFrame:
        first = first_texts(frame)
        return gathered_rows(first, first.select(pl.arg_sort_by(*_ANSWERS)).to_series().to_numpy())

    # All texts of an answer are in one pass; of a prompt in several, and only then its spelling is known.
    passes = bucket_passes([file], _STORED_TEXTS, _ANSWERS, pass_bytes)
    return map(with_one_prompt_each, _by_prompt(passes, made, _STORED_TEXTS.to_frame(), threads))


def _by_prompt(
    passes: Iterator[tuple[int, pl.DataFrame]],
    make: Callable[[pl.DataFrame], pl.DataFrame],
    none: pl.DataFrame,
    threads: int | None,
) -> Iterator[pl.DataFrame]:
    """What is made of each pass, in parts that no prompt crosses; `none` where there is no pass."""
    made = map_in_threads(lambda read: (read[0], make(read[1])), passes, threads)
    parts = (whole_prompts(rows for _, rows in own) for _, own in groupby(made, key=itemgetter(0)))
    first = next(parts, None)
    if first is None:
        yield none
        return
    yield from chain.from_iterable(chain([first], parts))


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
