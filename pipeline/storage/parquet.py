"""The only Parquet reader and writer: files of any schema, whole, in parts, or as bytes.

The same rows give the same bytes, however many threads encoded them: from `ParquetWriter` whatever their parts, else
in the same parts.
Tables with a schema of ours are read and written through `tables`.
"""

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from ..errors import InputError
from .attached import bring
from .columns import copied_strings
from .files import atomic_file, exact_path
from .kept import check_kept

# A row group this size keeps a reader's memory small and its files near the size of larger groups.
ROW_GROUP_ROWS: Final = 50_000
_COMPRESSION: Final = "zstd"
# Of what is written part by part. Against level 3, half the time for a tenth more bytes
# (tests/benchmarks/bench_prepare.py).
_FAST_LEVEL: Final = 1
# Rows of a file that tell which of its columns hold few different values.
_LOOKED_AT: Final = 1_000


def write_parquet(path: Path, frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> None:
    """Write `frame`, atomically; the same rows give the same bytes.

    Args:
        path: Where the file goes.
        frame: Rows of any schema.
        metadata: Key-value pairs for the file's own metadata.
    """
    with atomic_file(path) as temporary:
        frame.write_parquet(
            exact_path(temporary),
            compression=_COMPRESSION,
            statistics=True,
            row_group_size=ROW_GROUP_ROWS,
            metadata=dict(metadata) if metadata is not None else None,
        )


def parquet_bytes(frame: pl.DataFrame, metadata: Mapping[str, str]) -> bytes:
    """`frame` as the bytes of a Parquet file with `metadata`; the same rows give the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression=_COMPRESSION, statistics=False, metadata=dict(metadata))
    return buffer.getvalue()


def sink_parquet(path: Path, leading: pl.DataFrame, others: Iterable[pl.DataFrame], row_group_rows: int) -> int:
    """Write frames, row groups and columns encoded side by side by all threads; returns how many rows there were.

    Args:
        path: The file.
        leading: The first frame.
        others: Those after it, of the same schema; what making them raises is raised here.
        row_group_rows: Rows of a row group.
    """
    rows = 0
    failures: list[BaseException] = []

    def counted(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        try:
            for frame in chain([leading], others):
                rows += frame.height
                # Few rows wait for a row group, and would keep the texts of the part that they are from.
                yield copied_strings(frame) if frame.height < row_group_rows // 2 else frame
        except BaseException as error:
            # polars would raise an error of its own, which holds no more than this one's text.
            failures.append(error)
            raise

    try:
        register_io_source(counted, schema=leading.schema).sink_parquet(
            exact_path(path),
            compression=_COMPRESSION,
            compression_level=_FAST_LEVEL,
            row_group_size=row_group_rows,
            maintain_order=True,
        )
    except pl.exceptions.PolarsError:
        if failures:
            raise failures[0] from None
        raise
    return rows


def as_plain_arrow(rows: pl.DataFrame) -> Any:
    """Rows with Arrow's strings, which are copied: polars' few rows of a part would keep all of its texts."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


class ParquetWriter:
    """Writes a file whose rows come when they come, in one thread; its bytes do not tell in which parts they came."""

    def __init__(
        self, path: Path, row_group_rows: int = ROW_GROUP_ROWS, as_arrow: Callable[[pl.DataFrame], Any] = as_plain_arrow
    ) -> None:
        """Begin a file.

        Args:
            path: Where it goes.
            row_group_rows: Rows of a row group.
            as_arrow: Gives rows as an Arrow table, whose columns may be of types that polars does not have.
        """
        self._path = path
        self._row_group_rows = row_group_rows
        self._as_arrow = as_arrow
        self._held: list[Any] = []
        self._file: Any = None
        self._rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows, all of one schema."""
        self._rows += frame.height
        # No more than a row group at a time: the texts of a part's rows would be there twice.
        for rows in frame.iter_slices(self._row_group_rows) if frame.height else [frame]:
            self._held.append(self._as_arrow(rows))
            self._write_whole_groups()

    def _write_whole_groups(self) -> None:
        held = sum(part.num_rows for part in self._held)
        while held >= self._row_group_rows:
            rows = pa.concat_tables(self._held)
            self._write_group(rows.slice(0, self._row_group_rows))
            self._held, held = [rows.slice(self._row_group_rows)], held - self._row_group_rows

    def close(self, empty: pl.Schema) -> int:
        """Write what is left, and the file's end; returns how many rows there were.

        Args:
            empty: The columns of a file to which no rows were added.
        """
        if not self._held:
            self._held = [self._as_arrow(empty.to_frame())]
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
                exact_path(self._path),
                table.schema,
                compression=_COMPRESSION,
                compression_level=_FAST_LEVEL,
                use_dictionary=_repeating(table.slice(0, _LOOKED_AT)),
            )
        if table.num_rows:
            self._file.write_table(table, row_group_size=self._row_group_rows)


def _repeating(rows: Any) -> list[str]:
    """Paths of the columns of closed sets, and of texts of which half repeat others.

    To look for repeats in vain takes time: a sixth of what writing events or responses takes.
    """
    found: list[str] = []
    leaves = [(field.name, rows[field.name].combine_chunks()) for field in rows.schema]
    while leaves:
        path, values = leaves.pop()
        kind = values.type
        if pa.types.is_large_list(kind):
            leaves.append((f"{path}.list.element", values.flatten()))
        elif pa.types.is_struct(kind):
            leaves.extend((f"{path}.{field.name}", values.field(field.name)) for field in kind)
        elif pa.types.is_dictionary(kind) or (
            pa.types.is_large_string(kind) and 2 * pc.count_distinct(values).as_py() <= len(values)
        ):
            found.append(path)
    return found


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong with a file's bytes inside is raised as what is wrong with the file.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
    """
    bring(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def read_parquet(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of a user's own Parquet file.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
        TableError: It is a table of a run, and not as its stage wrote it.
    """
    with readable(path):
        check_kept(path)
        return pl.read_parquet(exact_path(path), columns=columns, glob=False)


def read_parquet_metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file."""
    return dict(pl.read_parquet_metadata(exact_path(path)))


def scan_parquet(path: Path) -> pl.LazyFrame:
    """The rows of a Parquet file, read when they are collected; see `readable`."""
    return pl.scan_parquet(exact_path(path), glob=False)


def iter_parquet(path: Path, columns: Sequence[str], batch_rows: int) -> Iterator[pl.DataFrame]:
    """Some columns of a Parquet file, a bounded number of rows at a time whatever its row groups; see `readable`."""
    with pq.ParquetFile(exact_path(path)) as file:
        for batch in file.iter_batches(batch_size=batch_rows, columns=list(columns)):
            yield pl.DataFrame(batch)


def read_parquet_bytes(data: bytes) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows and metadata of a Parquet file's bytes.

    Raises:
        InputError: The bytes are no whole Parquet file.
    """
    try:
        return pl.read_parquet(data), dict(pl.read_parquet_metadata(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(f"not readable as Parquet ({type(error).__name__})") from error


def may_hold(path: Path, columns: Collection[str]) -> bool:
    """Whether a Parquet file has any value in columns of these names, at any depth, as far as its footer tells.

    Args:
        path: The file.
        columns: Names of columns, or of fields in them.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
        TableError: It is a table of a run, and not as its stage wrote it.
    """
    with readable(path):
        check_kept(path)
        footer = pq.read_metadata(exact_path(path))
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.split(".")[-1] not in columns:
                continue
            found = chunk.statistics
            if found is None or not found.has_null_count or found.null_count < chunk.num_values:
                return True
    return False


def count_rows(path: Path) -> int:
    """How many rows one of our Parquet files has, by its footer."""
    check_kept(path)
    return int(pq.read_metadata(exact_path(path)).num_rows)
