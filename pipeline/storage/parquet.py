"""The only Parquet reader and writer: atomic files, digests, manifests, and folders that appear whole or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from ..errors import InputError, TableError
from ..tables import has_columns_of, polars_schema
from .files import atomic_file

# A row group this size keeps a reader's memory small and its files near the size of larger groups.
_ROW_GROUP_ROWS: Final = 50_000
# Rows that a stage holds at a time, as many prompts as that is.
PART_ROWS: Final = 50_000


def write_parquet(path: Path, frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> None:
    """Write `frame`, atomically; the same rows give the same bytes.

    Args:
        path: Where the file goes.
        frame: Rows of any schema.
        metadata: Key-value pairs for the file's own metadata.
    """
    with atomic_file(path) as temporary:
        frame.write_parquet(
            temporary,
            compression="zstd",
            statistics=True,
            row_group_size=_ROW_GROUP_ROWS,
            metadata=dict(metadata) if metadata is not None else None,
        )


def read_parquet(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of a user's own Parquet file.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def read_parquet_metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file."""
    return dict(pl.read_parquet_metadata(path))


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
        TableError: The file's columns are not those of `table` (another version wrote it).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        rows = _scan(path, table, columns, where)
        return rows.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def _scan(path: Path, table: str, columns: Sequence[str] | None, where: pl.Expr | None = None) -> pl.LazyFrame:
    scan = pl.scan_parquet(path)
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

    A part is a row group as `writing` makes them, so that each is decoded once, by all threads; of a file with other
    row groups `blocks.iter_table` reads as much at a time.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read; None: all.
        part_rows: Rows of a part.

    Raises:
        TableError: The file's columns are not those of `table`.
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
        TableError: The file's columns are not those of `table`.
    """
    parts = read_parts(path, table, columns, part_rows)
    held = next(parts)
    for part in parts:
        others = (held["prompt_id"] != held["prompt_id"][-1]).arg_true()
        # Slices share the rows' memory; filtering would copy all texts.
        whole = int(others[-1]) + 1 if len(others) else 0
        if whole:
            yield held.head(whole)
        held = pl.concat([held.slice(whole), part])
    yield held
