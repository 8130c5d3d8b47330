"""Rows on disk by bucket, so that no more than one bucket need be in memory: the one way in which rows are put aside.

A file of buckets is one Arrow stream: record batches of one bucket each, as often as its writer had a memory full of
rows. So thousands of buckets take one open file, and several processes each write a file of the same buckets. Plain
numbers that are looked up by their place, or counted, lie in flat files instead (`arrays`): those are mapped as one
array, which batches cannot be.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import ceil
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
import polars as pl
import pyarrow as pa

from .columns import copied_strings, gathered_rows

_HEX_DIGITS: Final = 3
MOST_BUCKETS: Final = 16**_HEX_DIGITS
# A bucket this large is read in several passes, each of a range of its keys.
PASS_BYTES: Final = 192 << 20
# Rows that are to be sorted are held up to here before they are written to their buckets.
HELD_BYTES: Final = 32 << 20


class Batch(NamedTuple):
    """One record batch of a file of buckets.

    Attributes:
        bucket: Whose rows it holds.
        path: The file.
        start: Its first byte there.
        size: How many bytes it has.
    """

    bucket: int
    path: Path
    start: int
    size: int


class KeyRange(NamedTuple):
    """Keys after one and up to another, this one included."""

    after: str
    upto: str


class BucketFile(NamedTuple):
    """One file of rows by bucket.

    Attributes:
        batches: Its batches, in their order.
        schema: Arrow's schema of the rows; None where there are none.
    """

    batches: list[Batch]
    schema: Any


def bucket_count(content_bytes: int, bytes_each: int) -> int:
    """A power of two, so that a bucket of evenly spread rows has about `bytes_each`."""
    count = 1
    while count < MOST_BUCKETS and content_bytes > count * bytes_each:
        count *= 2
    return count


def buckets_of_ids(ids: pl.Series, count: int) -> pl.Series:
    """The bucket of each id by its first digits: ids are digests, so their buckets are even, and in the ids' order.

    Args:
        ids: Ids of hexadecimal digits.
        count: Number of buckets, a power of two up to `MOST_BUCKETS`.
    """
    return ids.str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int32) // (MOST_BUCKETS // count)


class BucketWriter:
    """Writes one file of buckets; there is none before the first row."""

    def __init__(self, path: Path) -> None:
        """Take the file's path, in a folder that need not exist."""
        self._path = path
        self._file: Any = None
        self._stream: Any = None
        self._schema: Any = None
        self._batches: list[Batch] = []

    def write(self, rows: pl.DataFrame, buckets: pl.Series) -> None:
        """Add each row to the bucket of its number, in their order. Enums are stored by their codes."""
        if rows.is_empty():
            return
        codes = [pl.col(name).to_physical() for name, dtype in rows.schema.items() if isinstance(dtype, pl.Enum)]
        # Stable, and of 16 bits: numpy then sorts by digit.
        order = np.argsort(buckets.to_numpy().astype(np.uint16), kind="stable")
        ordered = gathered_rows(rows.with_columns(codes), order)
        (batch,) = ordered.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()
        if self._file is None:
            self._open(batch)
        start = 0
        for bucket, size in buckets.rename("bucket").value_counts().sort("bucket").iter_rows():
            before = self._file.tell()
            self._stream.write_batch(batch.slice(start, size))
            self._batches.append(Batch(bucket, self._path, before, self._file.tell() - before))
            start += size

    def _open(self, rows: Any) -> None:
        self._schema = rows.schema
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pa.OSFile(str(self._path), "wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        # The schema is written with the first batch, and would be taken for a part of it.
        self._stream.write_batch(rows.slice(0, 0))

    def close(self) -> BucketFile:
        """The finished file."""
        if self._file is not None and not self._file.closed:
            self._stream.close()
            self._file.close()
        return BucketFile(self._batches, self._schema)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read_buckets(
    files: Sequence[BucketFile], schema: pl.Schema, key: Sequence[str] = (), pass_bytes: int = PASS_BYTES
) -> Iterator[pl.DataFrame]:
    """All rows, bucket after bucket; a large one in passes over ranges of a key.

    The arguments are those of `bucket_passes`.
    """
    return (rows for _, rows in bucket_passes(files, schema, key, pass_bytes))


def bucket_passes(
    files: Sequence[BucketFile],
    schema: pl.Schema,
    key: Sequence[str] = (),
    pass_bytes: int = PASS_BYTES,
    within: KeyRange | None = None,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The bucket of some rows and these, all of a bucket one after the other.

    Args:
        files: What the writers gave.
        schema: Columns of the rows, those that are wanted of what was written; enums come back from their codes.
        key: Columns of text of equal lengths, whose joined values are cut into ranges; none: each bucket at once.
        pass_bytes: How much is read in one pass.
        within: Joined keys of the rows that are read; None: all.
    """
    batches = sorted((batch for file in files for batch in file.batches), key=attrgetter("bucket"))
    written = next((file.schema for file in files if file.batches), None)
    for bucket, own in groupby(batches, key=attrgetter("bucket")):
        for rows in _read_bucket(list(own), written, schema, key, pass_bytes, within):
            yield bucket, rows


def read_batches(file: BucketFile, schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """Columns of a file's rows, a batch after the other as they lie there: nothing else is read."""
    return (_frame([rows], schema) for rows in _record_batches(file.batches, file.schema))


def chosen_rows(
    file: BucketFile, path: Path, where: pl.Expr, bucket_of: Callable[[pl.DataFrame], pl.Series]
) -> BucketFile:
    """Some rows of a file in one of their own, in other buckets.

    Args:
        file: What is read.
        path: Where the other one goes.
        where: Which rows.
        bucket_of: Gives their buckets.
    """
    with BucketWriter(path) as writer:
        for rows in _record_batches(file.batches, file.schema):
            chosen = pl.DataFrame(pl.from_arrow(rows)).filter(where)
            writer.write(chosen, bucket_of(chosen))
    return writer.close()


def _read_bucket(
    batches: list[Batch], written: Any, schema: pl.Schema, key: Sequence[str], pass_bytes: int, within: KeyRange | None
) -> Iterator[pl.DataFrame]:
    size = sum(batch.size for batch in batches)
    if within is None and (size <= pass_bytes or not key):
        yield _frame(list(_record_batches(batches, written)), schema)
        return
    for cut in _key_ranges(batches, written, key, size / pass_bytes, within):
        inside = _is_in(cut, key)
        # With strings of their own, or each pass would hold all batches.
        records = _record_batches(batches, written)
        yield pl.concat((copied_strings(_frame([rows], schema).filter(inside)) for rows in records), rechunk=True)


def _record_batches(batches: list[Batch], written: Any) -> Iterator[Any]:
    """Record batches as they lie in their files: nothing is read before it is looked at."""
    for path, within in groupby(batches, key=attrgetter("path")):
        with pa.memory_map(str(path)) as file:
            for batch in within:
                file.seek(batch.start)
                yield pa.ipc.read_record_batch(file.read_buffer(batch.size), written)


def _is_in(cut: KeyRange, key: Sequence[str]) -> pl.Expr:
    return pl.concat_str(key).is_between(pl.lit(cut.after), pl.lit(cut.upto), closed="right")


def _key_ranges(
    batches: list[Batch], written: Any, key: Sequence[str], passes: float, within: KeyRange | None
) -> list[KeyRange]:
    """Ranges of about as many rows each, in ascending order of the joined keys; none where there are no rows.

    Args:
        batches: Of one bucket.
        written: Their schema.
        key: What is joined.
        passes: How many ranges all rows of the bucket would be worth.
        within: Keys that are wanted; None: all.
    """
    keys: list[pl.Series] = []
    rows_of_all = 0
    for rows in _record_batches(batches, written):
        frame = pl.DataFrame(pl.from_arrow(rows.select(list(key))))
        rows_of_all += frame.height
        wanted = frame if within is None else frame.filter(_is_in(within, key))
        keys.append(wanted.select(key=pl.concat_str(key)).to_series())
    ordered = pl.concat(keys).sort()
    if ordered.is_empty():
        return []
    count = ceil(passes * len(ordered) / rows_of_all)
    ends = [ordered[min(len(ordered), (index + 1) * -(-len(ordered) // count)) - 1] for index in range(count)]
    ends = sorted(set(ends))
    first = "" if within is None else within.after
    return [KeyRange(*both) for both in zip([first, *ends[:-1]], ends, strict=True)]


def _frame(records: list[Any], schema: pl.Schema) -> pl.DataFrame:
    # Of many small batches; all that follows is several times as fast on columns in one piece.
    table = pa.Table.from_batches(records).select(schema.names())
    frame = pl.DataFrame(pl.from_arrow(table)).rechunk()
    codes = [pl.col(name).cat.to(dtype) for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    return frame.with_columns(codes)


class BucketSort:
    """Rows put in the order of a key; in memory while they are few, else by way of a file of buckets."""

    def __init__(
        self,
        path: Path,
        key: Sequence[str],
        bucket_of: Callable[[pl.Series], pl.Series],
        *,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        """Begin without rows.

        Args:
            path: Where the file may lie; neither it nor its folder need exist.
            key: Columns to sort by. Rows whose keys are equal are the same row.
            bucket_of: Gives the numbers of rows' buckets, which ascend with the key, from its first column.
            held_bytes: How much is held in memory before it is written.
        """
        self._path = path
        self._writer = BucketWriter(path)
        self._key = list(key)
        self._bucket_of = bucket_of
        self._held_bytes = held_bytes
        self._held: list[pl.DataFrame] = []
        self._bytes = 0
        self._schema: pl.Schema | None = None

    def __enter__(self) -> Self:
        """The rows themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self._writer.close()
        self._path.unlink(missing_ok=True)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in any order."""
        if rows.is_empty():
            return
        self._held.append(rows)
        self._bytes += int(rows.estimated_size())
        if self._bytes > self._held_bytes:
            self._write()

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows in order, each key once; to be read once, after the last was added."""
        if self._schema is not None:
            self._write()
            yield from map(self._sorted, read_buckets([self._writer.close()], self._schema))
        elif self._held:
            yield self._sorted(pl.concat(self._held))

    def _write(self) -> None:
        if self._held:
            rows = pl.concat(self._held)
            self._schema = rows.schema
            self._writer.write(rows, self._bucket_of(rows[self._key[0]]))
        self._held, self._bytes = [], 0

    def _sorted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.sort(self._key).unique(self._key, keep="first", maintain_order=True)
