"""Tables as files: values are checked as they are written, columns as they are read; whole, in parts, or side by side.

A file is whole or not there at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from ..errors import TableError
from ..tables import has_columns_of, polars_schema, validate
from .digests import cached_digest
from .files import atomic_file
from .kept import check_kept
from .manifests import TableRecord
from .parquet import ROW_GROUP_ROWS, ParquetWriter, iter_parquet, readable, scan_parquet, sink_parquet

# Rows that a stage holds at a time, as many prompts as that is.
PART_ROWS: Final = 50_000


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
    return TableRecord(file=path.name, rows=rows, sha256=cached_digest(path))


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
        tables: Names in `tables.TABLES`.
        row_group_rows: Rows of a row group.

    Raises:
        TableError: Values break a schema.
    """
    with TableWriters(folder, tables, row_group_rows) as writers:
        for part in parts:
            writers.write(part)
    return writers.records


class TableWriters:
    """Writes tables of one folder, atomically; each is checked and encoded by a thread of its own.

    Attributes:
        records: The tables' records by name, once the block has ended well.
    """

    def __init__(self, folder: Path, tables: Iterable[str], row_group_rows: int = ROW_GROUP_ROWS) -> None:
        """Begin the files where the block begins; the arguments are those of `write_tables`."""
        self._paths = {table: folder / f"{table}.parquet" for table in tables}
        self._row_group_rows = row_group_rows
        self._writers: dict[str, ParquetWriter] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._written: dict[str, Future[None]] = {}
        self._open_files = ExitStack()
        self.records: dict[str, TableRecord] = {}

    def __enter__(self) -> Self:
        """The writers."""
        with ExitStack() as open_files:
            for table, path in self._paths.items():
                temporary = open_files.enter_context(atomic_file(path))
                self._writers[table] = ParquetWriter(temporary, self._row_group_rows)
                self._threads[table] = open_files.enter_context(ThreadPoolExecutor(1))
            self._open_files = open_files.pop_all()
        return self

    def write(self, part: Mapping[str, pl.DataFrame]) -> None:
        """Add rows by table. What is wrong with them is raised here, by a later call, or at the block's end."""
        for table, frame in part.items():
            self._wait(table)
            self._written[table] = self._threads[table].submit(self._write, table, frame)

    def _write(self, table: str, frame: pl.DataFrame) -> None:
        self._writers[table].write(validate(table, frame))

    def _wait(self, table: str) -> None:
        """No more than one part of a table waits to be written."""
        if table in self._written:
            self._written.pop(table).result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the files, unless an error has ended the block: then none is left."""
        if error is not None:
            self._open_files.__exit__(kind, error, trace)
            return
        with self._open_files:
            ended = {table: self._threads[table].submit(self._close, table) for table in self._paths}
            for table in self._paths:
                self._wait(table)
            rows = {table: end.result() for table, end in ended.items()}
        self.records = {
            table: TableRecord(file=path.name, rows=rows[table], sha256=cached_digest(path))
            for table, path in self._paths.items()
        }

    def _close(self, table: str) -> int:
        return self._writers[table].close(polars_schema(table))


def _sink(path: Path, table: str, frames: Iterator[pl.DataFrame], row_group_rows: int) -> int:
    checked = (validate(table, frame) for frame in frames)
    leading = next(checked, None)
    if leading is None:
        raise TableError(f"{table}: no batch of rows was given.")
    return sink_parquet(path, leading, checked, row_group_rows)


def read_table(
    path: Path, table: str, columns: Sequence[str] | None = None, where: pl.Expr | None = None
) -> pl.DataFrame:
    """The rows of one of our tables; its values were checked when it was written.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read, without those that the table may lack and lacks; None: all.
        where: Which rows to read; None: all.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
        TableError: The file's columns are not those of `table` (another version wrote it), or its bytes are not those
            that its stage wrote.
    """
    with readable(path):
        return _scan(path, table, columns, where).collect()


def _scan(path: Path, table: str, columns: Sequence[str] | None, where: pl.Expr | None = None) -> pl.LazyFrame:
    check_kept(path)
    scan = scan_parquet(path)
    found = scan.collect_schema()
    _check_columns(path, table, found)
    if where is not None:
        scan = scan.filter(where)
    return scan if columns is None else scan.select(name for name in columns if name in found)


def _check_columns(path: Path, table: str, found: pl.Schema) -> None:
    if not has_columns_of(table, found):
        expected = list(polars_schema(table))
        raise TableError(
            f"{path}: columns differ from those of table '{table}': {list(found)} against {expected}. "
            f"Another version wrote it: run the stage again."
        )


def read_parts(
    path: Path, table: str, columns: Sequence[str] | None = None, part_rows: int = PART_ROWS
) -> Iterator[pl.DataFrame]:
    """A table in bounded parts, in its order; at least one part.

    A part is a row group as they are written here, so that each is decoded once, by all threads; of a file with other
    row groups `iter_table` reads as much at a time.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read; None: all.
        part_rows: Rows of a part.

    Raises:
        TableError: The file's columns are not those of `table`, or its bytes not those that its stage wrote.
    """
    scan = _scan(path, table, columns or polars_schema(table).names())
    total = scan.select(pl.len()).collect().item()
    for start in range(0, max(total, 1), part_rows):
        yield scan.slice(start, part_rows).collect()


def read_by_prompt(
    path: Path, table: str, columns: Sequence[str] | None = None, part_rows: int = PART_ROWS
) -> Iterator[pl.DataFrame]:
    """A table that is sorted by prompt_id, in parts that no prompt crosses; at least one part.

    A part is bounded by the largest prompt.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read, `prompt_id` among them; None: all.
        part_rows: About how many rows a part has.

    Raises:
        TableError: The file's columns are not those of `table`, or its bytes not those that its stage wrote.
    """
    yield from whole_groups(read_parts(path, table, columns, part_rows))


def whole_groups(parts: Iterator[pl.DataFrame], column: str = "prompt_id") -> Iterator[pl.DataFrame]:
    """Rows that are sorted by a column, cut so that no value of it crosses two parts.

    Args:
        parts: At least one; rows of one value may lie in several. The last part given may be empty.
        column: The column.
    """
    # All but the first of these are of its last value.
    held = [next(parts)]
    for part in parts:
        first = held[0]
        others = (first[column] != first[column][-1]).arg_true() if first.height else first[column]
        # Slices share the rows' memory; filtering would copy all texts.
        whole = int(others[-1]) + 1 if len(others) else 0
        if whole:
            yield first.head(whole)
            held[0] = first.slice(whole)
        held.append(part)
        # A value of very many rows is copied once, and not with each part that it goes on in.
        if (part[column] != held[0].head(1)[column]).any() if held[0].height else part.height:
            held = [pl.concat(held, rechunk=True)]
    yield pl.concat(held, rechunk=True) if len(held) > 1 else held[0]


def iter_table(path: Path, table: str, columns: list[str], batch_rows: int = PART_ROWS) -> Iterator[pl.DataFrame]:
    """Some columns of one of our tables, a bounded number of rows at a time.

    Raises:
        InputError: The file is missing or no whole Parquet file.
        TableError: It lacks one of the columns (another version wrote it), or was changed since its stage wrote it.
    """
    known = polars_schema(table, optional=True)
    expected = pl.Schema({name: known[name] for name in columns})
    with readable(path):
        check_kept(path)
        if not set(columns) <= set(scan_parquet(path).collect_schema()):
            raise TableError(f"{path}: columns of table '{table}' are missing. Run the stage that made it again.")
        for batch in iter_parquet(path, columns, batch_rows):
            yield batch.select(columns).cast(expected)


def side_by_side(
    tables: Sequence[Iterator[pl.DataFrame]], column: str = "prompt_id"
) -> Iterator[tuple[pl.DataFrame, ...]]:
    """The rows of several tables that have the same prompts, a bounded set of prompts after the other.

    Args:
        tables: What `read_by_prompt` gives of each: at least one part, in the order of prompt_id.
        column: What goes side by side and gives the order in place of prompt_id.

    Yields:
        One frame a table, in the order given; at least once.
    """
    held = [next(parts) for parts in tables]
    ended = [False] * len(held)
    while True:
        for place, parts in enumerate(tables):
            while held[place].is_empty() and not ended[place]:
                following = next(parts, None)
                ended[place] = following is None
                held[place] = held[place] if following is None else following
        # Of a table that goes on, nothing is known beyond the prompts in hand. Slices share the rows' memory.
        known = [frame[column][-1] for frame, is_over in zip(held, ended, strict=True) if not is_over]
        if not known:
            yield tuple(held)
            return
        ends = [frame[column].search_sorted(min(known), "right") for frame in held]
        yield tuple(frame.head(end) for frame, end in zip(held, ends, strict=True))
        held = [frame.slice(end) for frame, end in zip(held, ends, strict=True)]
