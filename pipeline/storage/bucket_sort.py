"""Rows put in the order of a key, by way of a file of buckets where they are many."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import polars as pl

from .buckets import BucketWriter, read_buckets

# Rows that are to be sorted are held up to here before they are written to their buckets.
HELD_BYTES: Final = 32 << 20


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
        """Delete the file, also where a full disk does not take its end."""
        try:
            self._writer.close()
        finally:
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
