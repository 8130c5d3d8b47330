"""Rows on disk by bucket, so that no more than one bucket need be in memory: the one way in which rows are put aside.

A file of buckets is one Arrow stream: record batches of one bucket each, as often as its writer had a memory full of
rows. So thousands of buckets take one open file, and several processes each write a file of the same buckets. Plain
numbers that are looked up by their place, or counted, lie in flat files instead (`arrays`): those are mapped as one
array, which batches cannot be.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from math import ceil
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from .columns import copied_strings, gathered_rows

_HEX_DIGITS: Final = 3
MOST_BUCKETS: Final = 16**_HEX_DIGITS
# A bucket this large is read in several passes, each of a range of its keys.
PASS_BYTES: Final = 192 << 20


class KeyRange(NamedTuple):
    """Keys after one and up to another, this one included."""

    after: str
    upto: str


class BucketFile(NamedTuple):
    """Rows by bucket, in one file or several.

    Attributes:
        paths: The files.
        batches: (record batches, 4) int64: the bucket whose rows one holds, the place of its file among the paths, its
            first byte there, and how many bytes it has. A large log has a million.
        schema: Arrow's schema of the rows; None where there are none.
    """

    paths: tuple[Path, ...]
    batches: npt.NDArray[np.int64]
    schema: Any

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return int(self.batches[:, _SIZE].sum())

    def buckets(self) -> npt.NDArray[np.int64]:
        """The buckets that have rows, in their order."""
        return np.unique(self.batches[:, _BUCKET])

    def of_bucket(self, bucket: int) -> Self:
        """The rows of a bucket of files that `joined_files` gave."""
        first, end = np.searchsorted(self.batches[:, _BUCKET], [bucket, bucket + 1])
        return self._replace(batches=self.batches[first:end])


_BUCKET, _PATH, _START, _SIZE = range(4)
NO_FILE: Final = BucketFile((), np.empty((0, 4), dtype=np.int64), None)


def joined_files(files: Iterable[BucketFile]) -> BucketFile:
    """The rows of several files by bucket; of one bucket in the files' order."""
    paths: dict[Path, int] = {}
    batches = [NO_FILE.batches]
    schema = None
    for file in files:
        if not len(file.batches):
            continue
        schema = schema or file.schema
        places = np.array([paths.setdefault(path, len(paths)) for path in file.paths])
        own = file.batches.copy()
        own[:, _PATH] = places[own[:, _PATH]]
        batches.append(own)
    joined = np.concatenate(batches)
    return BucketFile(tuple(paths), joined[np.argsort(joined[:, _BUCKET], kind="stable")], schema)


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
        self._batches: list[tuple[int, int, int, int]] = []

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
            self._batches.append((bucket, 0, before, self._file.tell() - before))
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
        if not self._batches:
            return NO_FILE
        return BucketFile((self._path,), np.array(self._batches, dtype=np.int64), self._schema)

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
    joined = joined_files(files)
    for bucket in joined.buckets().tolist():
        for rows in _read_bucket(joined.of_bucket(bucket), schema, key, pass_bytes, within):
            yield bucket, rows


def read_batches(file: BucketFile, schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """Columns of a file's rows, a batch after the other as they lie there: nothing else is read."""
    return (_frame([rows], schema) for rows in _record_batches(file))


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
        for rows in _record_batches(file):
            chosen = pl.DataFrame(pl.from_arrow(rows)).filter(where)
            writer.write(chosen, bucket_of(chosen))
    return writer.close()


def _read_bucket(
    bucket: BucketFile, schema: pl.Schema, key: Sequence[str], pass_bytes: int, within: KeyRange | None
) -> Iterator[pl.DataFrame]:
    if within is None and (bucket.size <= pass_bytes or not key):
        yield _frame(list(_record_batches(bucket)), schema)
        return
    for cut in _key_ranges(bucket, key, bucket.size / pass_bytes, within):
        inside = _is_in(cut, key)
        # With strings of their own, or each pass would hold all batches.
        records = _record_batches(bucket)
        yield pl.concat((copied_strings(_frame([rows], schema).filter(inside)) for rows in records), rechunk=True)


def _record_batches(rows: BucketFile) -> Iterator[Any]:
    """Record batches as they lie in their files: nothing is read before it is looked at."""
    for place, own in groupby(rows.batches.tolist(), key=itemgetter(_PATH)):
        with pa.memory_map(str(rows.paths[place])) as file:
            for batch in own:
                file.seek(batch[_START])
                yield pa.ipc.read_record_batch(file.read_buffer(batch[_SIZE]), rows.schema)


def _is_in(cut: KeyRange, key: Sequence[str]) -> pl.Expr:
    return pl.concat_str(key).is_between(pl.lit(cut.after), pl.lit(cut.upto), closed="right")


def _key_ranges(bucket: BucketFile, key: Sequence[str], passes: float, within: KeyRange | None) -> list[KeyRange]:
    """Ranges of about as many rows each, in ascending order of the joined keys; none where there are no rows.

    Args:
        bucket: The rows of one bucket.
        key: What is joined.
        passes: How many ranges all rows of the bucket would be worth.
        within: Keys that are wanted; None: all.
    """
    keys: list[pl.Series] = []
    rows_of_all = 0
    for rows in _record_batches(bucket):
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
