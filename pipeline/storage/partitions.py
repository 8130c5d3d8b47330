"""Rows on disk by partition, so that no more than one partition need be in memory.

A run is one Arrow stream: record batches of one partition each, as often as its writer had a memory full of rows.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import polars as pl
import pyarrow as pa

from .columns import gathered_rows, with_own_texts

_HEX_DIGITS: Final = 3
_FINEST: Final = 16**_HEX_DIGITS
# A partition this large is read in several passes, each of a range of its keys.
_PASS_BYTES: Final = 192 << 20

_KEY: Final = pl.col("prompt_id") + pl.col("response_id") + pl.col("event_id")


class Piece(NamedTuple):
    """One record batch in a run.

    Attributes:
        partition: Whose rows it holds.
        path: The run's file.
        start: Its first byte there.
        size: How many bytes it has.
    """

    partition: int
    path: Path
    start: int
    size: int


class Run(NamedTuple):
    """One file of partitioned rows.

    Attributes:
        pieces: Its batches, in their order.
        schema: Arrow's schema of the rows; None where there are none.
    """

    pieces: list[Piece]
    schema: Any


def partition_count(content_bytes: int, bytes_each: int) -> int:
    """A power of two, so that a partition of evenly spread rows has about `bytes_each`."""
    count = 1
    while count < _FINEST and content_bytes > count * bytes_each:
        count *= 2
    return count


class RunWriter:
    """Writes one run."""

    def __init__(self, path: Path, partitions: int) -> None:
        """Begin a file of `partitions` partitions."""
        self._path = path
        self._divisor = _FINEST // partitions
        self._file: Any = None
        self._stream: Any = None
        self._schema: Any = None
        self._pieces: list[Piece] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; column `prompt_id` tells their partition. Enums are stored by their codes."""
        codes = [pl.col(name).to_physical() for name, dtype in frame.schema.items() if isinstance(dtype, pl.Enum)]
        place = pl.col("prompt_id").str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int32) // self._divisor
        partitions = frame.select(place.alias("partition")).to_series()
        placed = gathered_rows(frame.with_columns(codes), partitions.arg_sort().to_numpy())
        sizes = partitions.value_counts().sort("partition")
        (rows,) = placed.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()
        if self._file is None:
            self._schema = rows.schema
            self._file = pa.OSFile(str(self._path), "wb")
            self._stream = pa.ipc.new_stream(self._file, self._schema)
            # The schema is written with the first batch, and would be taken for a part of it.
            self._stream.write_batch(rows.slice(0, 0))
        start = 0
        for partition, size in sizes.iter_rows():
            before = self._file.tell()
            self._stream.write_batch(rows.slice(start, size))
            self._pieces.append(Piece(partition, self._path, before, self._file.tell() - before))
            start += size

    def close(self) -> Run:
        """The finished run."""
        if self._file is not None:
            self._stream.close()
            self._file.close()
        return Run(self._pieces, self._schema)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read_partitions(runs: Sequence[Run], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """All rows, partition after partition; a large one in passes over ranges of (prompt_id, response_id, event_id).

    Args:
        runs: What the writers gave.
        schema: Columns of the rows; enums come back from their codes.
    """
    found = sorted((piece for run in runs for piece in run.pieces), key=attrgetter("partition"))
    written = next((run.schema for run in runs if run.pieces), None)
    for _, pieces in groupby(found, key=attrgetter("partition")):
        yield from _read_partition(list(pieces), written, schema)


def _read_partition(pieces: list[Piece], written: Any, schema: pl.Schema) -> Iterator[pl.DataFrame]:
    size = sum(piece.size for piece in pieces)
    if size <= _PASS_BYTES:
        yield _frame(list(_batches(pieces, written)), schema)
        return
    for low, high in _key_ranges(pieces, written, -(-size // _PASS_BYTES)):
        inside = _KEY.is_between(pl.lit(low), pl.lit(high), closed="right")
        # With texts of their own, or each pass would hold all batches.
        parts = [with_own_texts(_frame([batch], schema).filter(inside)) for batch in _batches(pieces, written)]
        yield pl.concat(parts, rechunk=True)


def _batches(pieces: list[Piece], written: Any) -> Iterator[Any]:
    """Record batches as they lie in their files: nothing is read before it is looked at."""
    for path, within in groupby(pieces, key=attrgetter("path")):
        with pa.memory_map(str(path)) as file:
            for piece in within:
                file.seek(piece.start)
                yield pa.ipc.read_record_batch(file.read_buffer(piece.size), written)


def _key_ranges(pieces: list[Piece], written: Any, count: int) -> list[tuple[str, str]]:
    """About `count` ranges (from, to] of as many rows each, in ascending order of the joined keys."""
    keys: list[pl.Series] = []
    for batch in _batches(pieces, written):
        frame = pl.DataFrame(pl.from_arrow(batch.select(["prompt_id", "response_id", "event_id"])))
        keys.append(frame.select(key=_KEY).to_series())
    ordered = pl.concat(keys).sort()
    ends = [ordered[min(len(ordered), (index + 1) * -(-len(ordered) // count)) - 1] for index in range(count)]
    ends = sorted(set(ends))
    return list(zip(["", *ends[:-1]], ends, strict=True))


def _frame(batches: list[Any], schema: pl.Schema) -> pl.DataFrame:
    # Of many small batches; all that follows is several times as fast on columns in one piece.
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches))).rechunk()
    codes = [pl.col(name).cat.to(dtype) for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    return frame.with_columns(codes)
