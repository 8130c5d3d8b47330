"""Rows on disk in buckets, and tables put in order by way of them, so that one bucket at a time is in memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import pyarrow as pa

# Rows are held up to here before they are written to their buckets.
_HELD_BYTES: Final = 32 << 20


class BucketFiles:
    """Rows in a file a bucket; nothing is written before the first row, and nothing is left at the end."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that does not exist yet."""
        self.folder = folder
        self._stack = ExitStack()
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """The buckets themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close and delete every file."""
        self._close()
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()

    def append(self, number: int, rows: pl.DataFrame) -> None:
        """Add rows to a bucket."""
        table = rows.to_arrow()
        if number not in self._writers:
            self.folder.mkdir(parents=True, exist_ok=True)
            writer = pa.ipc.new_stream(str(self._file(number)), table.schema)
            self._writers[number] = self._stack.enter_context(writer)
        self._writers[number].write_table(table)

    def append_each(self, rows: pl.DataFrame, numbers: pl.Series) -> None:
        """Add each row to the bucket of its number."""
        placed = rows.with_columns(numbers.alias("bucket"))
        for (number,), part in placed.partition_by("bucket", as_dict=True, include_key=False).items():
            self.append(int(number), part)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows of each bucket in the order of their numbers; each file is deleted once it is done with."""
        numbers = sorted(self._writers)
        self._close()
        for number in numbers:
            path = self._file(number)
            yield pl.read_ipc_stream(path)
            path.unlink()

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.arrows"

    def _close(self) -> None:
        self._stack.close()
        self._writers.clear()


class SortedById:
    """Rows put in the order of a key that begins with an id; in memory while they are few, else by way of files.

    Ids are digests, so their first digits spread the rows evenly.
    """

    def __init__(self, folder: Path, key: Sequence[str], *, digits: int) -> None:
        """Begin without rows.

        Args:
            folder: Where files may lie; it does not exist yet.
            key: Columns to sort by, an id of hexadecimal digits first. Rows whose keys are equal are the same row.
            digits: How many digits of the id choose a bucket: 16 or 256 of them.
        """
        self._files = BucketFiles(folder)
        self._key = list(key)
        self._digits = digits
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._is_spilled = False

    def __enter__(self) -> Self:
        """The rows themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete every file."""
        self._files.__exit__()

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in any order."""
        self._held.append(rows)
        self._held_bytes += int(rows.estimated_size())
        if self._held_bytes > _HELD_BYTES:
            self._spill()

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows in order, each key once; to be read once."""
        if self._is_spilled:
            self._spill()
            yield from map(self._in_order, self._files.frames())
        elif self._held:
            yield self._in_order(pl.concat(self._held))

    def _spill(self) -> None:
        rows = pl.concat(self._held) if self._held else None
        self._held, self._held_bytes, self._is_spilled = [], 0, True
        if rows is not None:
            self._files.append_each(rows, rows[self._key[0]].str.head(self._digits).str.to_integer(base=16))

    def _in_order(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.sort(self._key).unique(self._key, keep="first", maintain_order=True)
