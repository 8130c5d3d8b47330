"""Parquet that does not lie whole in a file or in memory: tables read and written a block at a time, and bytes."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import TableRecord, atomic_file, digest_file
from pipeline.errors import InputError, TableError
from pipeline.tables import polars_schema, validate

BLOCK_ROWS: Final = 50_000


def parquet_bytes(frame: pl.DataFrame, metadata: Mapping[str, str]) -> bytes:
    """`frame` as the bytes of a Parquet file with `metadata`; the same rows give the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False, metadata=dict(metadata))
    return buffer.getvalue()


def read_parquet_bytes(data: bytes) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows and metadata of a Parquet file's bytes.

    Raises:
        InputError: The bytes are no whole Parquet file.
    """
    try:
        return pl.read_parquet(data), dict(pl.read_parquet_metadata(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(f"not readable as Parquet ({type(error).__name__})") from error


def write_table_batches(path: Path, table: str, batches: Iterable[pl.DataFrame]) -> TableRecord:
    """Write the rows of all batches as one table, each checked like `write_table`'s; returns its record.

    Uniqueness is checked inside a batch only: the caller gives rows whose keys cannot repeat across batches.

    Raises:
        TableError: A value breaks the schema, or there is no batch (an empty one says which columns there are).
    """
    rows, writer = 0, None
    with atomic_file(path) as temporary:
        try:
            for batch in batches:
                arrow = validate(table, batch).to_arrow()
                writer = writer or pq.ParquetWriter(temporary, arrow.schema, compression="zstd")
                writer.write_table(arrow.cast(writer.schema), row_group_size=BLOCK_ROWS)
                rows += batch.height
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise TableError(f"{table}: no batch of rows was given.")
    return TableRecord(file=path.name, rows=rows, sha256=digest_file(path))


def iter_table(path: Path, table: str, columns: list[str], batch_rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
    """Some columns of one of our tables, a bounded number of rows at a time.

    Raises:
        InputError: The file is missing or no whole Parquet file.
        TableError: It lacks one of the columns (another version wrote it).
    """
    expected = pl.Schema({name: polars_schema(table)[name] for name in columns})
    try:
        with pq.ParquetFile(path) as file:
            if not set(columns) <= set(file.schema_arrow.names):
                raise TableError(f"{path}: columns of table '{table}' are missing. Run the stage that made it again.")
            for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
                yield pl.DataFrame(batch).select(columns).cast(expected)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def count_rows(path: Path) -> int:
    """How many rows one of our Parquet files has, by its footer."""
    return int(pq.read_metadata(path).num_rows)
