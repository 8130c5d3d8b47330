"""Parquet that does not lie whole in a file or in memory: tables read and written a block at a time, and bytes."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError, TableError
from ..tables import polars_schema

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


def iter_table(path: Path, table: str, columns: list[str], batch_rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
    """Some columns of one of our tables, a bounded number of rows at a time.

    Raises:
        InputError: The file is missing or no whole Parquet file.
        TableError: It lacks one of the columns (another version wrote it).
    """
    known = polars_schema(table, optional=True)
    expected = pl.Schema({name: known[name] for name in columns})
    try:
        with pq.ParquetFile(path) as file:
            if not set(columns) <= set(file.schema_arrow.names):
                raise TableError(f"{path}: columns of table '{table}' are missing. Run the stage that made it again.")
            for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
                yield pl.DataFrame(batch).select(columns).cast(expected)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def side_by_side(tables: Sequence[Iterator[pl.DataFrame]]) -> Iterator[tuple[pl.DataFrame, ...]]:
    """The rows of several tables that have the same prompts, a bounded set of prompts after the other.

    Args:
        tables: What `read_by_prompt` gives of each: at least one part, in the order of prompt_id.

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
        # Of a table that goes on, nothing is known beyond the prompts in hand.
        known = [frame["prompt_id"][-1] for frame, is_over in zip(held, ended, strict=True) if not is_over]
        if not known:
            yield tuple(held)
            return
        is_known = pl.col("prompt_id") <= min(known)
        yield tuple(frame.filter(is_known) for frame in held)
        held = [frame.filter(~is_known) for frame in held]


def count_rows(path: Path) -> int:
    """How many rows one of our Parquet files has, by its footer."""
    return int(pq.read_metadata(path).num_rows)
