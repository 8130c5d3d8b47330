"""Tables to Parquet, part by part: checked as they are written, and whole or not there at all.

The rows alone decide a file's bytes: how they were cut into parts, and how many threads encoded them, does not show.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from ..errors import TableError
from ..tables import polars_schema, validate
from .columns import copied_strings
from .digests import digest_file
from .files import atomic_file
from .manifests import TableRecord

# A row group this size keeps a reader's memory small and its files near the size of larger groups.
ROW_GROUP_ROWS: Final = 50_000
# Against level 3, half the time for a tenth more bytes (tests/benchmarks/bench_prepare.py).
_COMPRESSION_LEVEL: Final = 1


def write_table(path: Path, table: str, frame: pl.DataFrame) -> TableRecord:
    """Write `frame` once every value fits the schema of `table`, and return its record.

    Raises:
        TableError: A value breaks the schema.
    """
    return write_table_batches(path, table, [frame])


def write_table_batches(
    path: Path, table: str, batches: Iterable[pl.DataFrame], row_group_rows: int = ROW_GROUP_ROWS
) -> TableRecord:
    """Write the rows of all batches as one table, each checked like `write_table`'s; returns its record.

    Uniqueness is checked inside a batch only: the caller gives rows whose keys cannot repeat across batches.

    Raises:
        TableError: A value breaks the schema, or there is no batch (an empty one says which columns there are).
    """
    with atomic_file(path) as temporary:
        rows = _sink(temporary, table, iter(batches), row_group_rows)
    return TableRecord(file=path.name, rows=rows, sha256=digest_file(path))


def write_tables(
    folder: Path,
    parts: Iterable[Mapping[str, pl.DataFrame]],
    tables: Iterable[str],
    row_group_rows: int = ROW_GROUP_ROWS,
) -> dict[str, TableRecord]:
    """Write tables whose rows come in parts, atomically, and return their records by name.

    Args:
        folder: Where the files go.
        parts: Rows by table, in their order; no key stands in two parts.
        tables: Names in `tables.TABLES`, the one of the most rows first: it is encoded by all threads.
        row_group_rows: Rows of a row group.

    Raises:
        TableError: Values break a schema.
    """
    paths = {table: folder / f"{table}.parquet" for table in tables}
    first, *others = paths
    with ExitStack() as open_files:
        files = {table: open_files.enter_context(atomic_file(path)) for table, path in paths.items()}
        writers = {table: _TableWriter(files[table], table, row_group_rows) for table in others}
        rows = {first: _sink(files[first], first, _beside(parts, first, writers), row_group_rows)}
        for table, writer in writers.items():
            rows[table] = writer.close()
    return {
        table: TableRecord(file=path.name, rows=rows[table], sha256=digest_file(path)) for table, path in paths.items()
    }


def _beside(
    parts: Iterable[Mapping[str, pl.DataFrame]], first: str, writers: Mapping[str, "_TableWriter"]
) -> Iterator[pl.DataFrame]:
    """The parts of one table; those of the others are written as they pass."""
    found = False
    for part in parts:
        for table, frame in part.items():
            if table == first:
                found = True
                yield frame
            else:
                writers[table].write(frame)
    if not found:
        yield polars_schema(first).to_frame()


def _sink(temporary: Path, table: str, frames: Iterator[pl.DataFrame], row_group_rows: int) -> int:
    """Write all frames, row groups and columns encoded side by side; returns how many rows there were."""
    leading = next(frames, None)
    if leading is None:
        raise TableError(f"{table}: no batch of rows was given.")
    rows, failures = 0, []

    def checked(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        try:
            for frame in chain([leading], frames):
                rows += frame.height
                validate(table, frame)
                # Few rows wait for a row group, and would keep the texts of the part that they are from.
                yield copied_strings(frame) if frame.height < row_group_rows // 2 else frame
        except BaseException as error:
            # polars would raise an error of its own, which holds no more than this one's text.
            failures.append(error)
            raise

    try:
        register_io_source(checked, schema=leading.schema).sink_parquet(
            temporary,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            row_group_size=row_group_rows,
            maintain_order=True,
        )
    except pl.exceptions.PolarsError:
        if failures:
            raise failures[0] from None
        raise
    return rows


class _TableWriter:
    """Writes a table whose parts come when they come."""

    def __init__(self, path: Path, table: str, row_group_rows: int) -> None:
        """Begin a table.

        Args:
            path: Where its file goes.
            table: A name in `tables.TABLES`.
            row_group_rows: Rows of a row group.
        """
        self._path = path
        self._row_group_rows = row_group_rows
        self._table = table
        self._held: list[Any] = []
        self._file: Any = None
        self._rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows once every value of theirs fits the schema; a key must not repeat in two parts."""
        # As Arrow's strings, which are copied: polars' few rows of a part would keep the texts of the whole part.
        self._held.append(validate(self._table, frame).to_arrow(compat_level=pl.CompatLevel.oldest()))
        self._rows += frame.height
        held = sum(part.num_rows for part in self._held)
        while held >= self._row_group_rows:
            rows = pa.concat_tables(self._held)
            self._write_group(rows.slice(0, self._row_group_rows))
            self._held, held = [rows.slice(self._row_group_rows)], held - self._row_group_rows

    def close(self) -> int:
        """Write what is left, and the file's end; returns how many rows there were."""
        if not self._held:
            empty = polars_schema(self._table).to_frame()
            self._held = [empty.to_arrow(compat_level=pl.CompatLevel.oldest())]
        rows = pa.concat_tables(self._held)
        if rows.num_rows or self._file is None:
            self._write_group(rows)
        self._file.close()
        return self._rows

    def _write_group(self, rows: Any) -> None:
        table = rows.combine_chunks()
        if self._file is None:
            # Its first rows' columns: a table may have columns that are not always there.
            self._file = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", compression_level=_COMPRESSION_LEVEL
            )
        if table.num_rows:
            self._file.write_table(table, row_group_size=self._row_group_rows)
