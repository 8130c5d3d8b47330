"""Rows on disk by partition, so that no more than one partition need be in memory.

A run is one Arrow file: record batches of one partition each, as often as its writer had a memory full of rows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import polars as pl
import pyarrow as pa

from pipeline.message_lists import gathered_rows

_HEX_DIGITS: Final = 3
_FINEST: Final = 16**_HEX_DIGITS
# A partition this large is read in several passes, each of a range of its keys.
_PASS_BYTES: Final = 192 << 20

_KEY: Final = pl.col("prompt_id") + pl.col("response_id") + pl.col("event_id")


class Run(NamedTuple):
    """One file of partitioned rows.

    Attributes:
        path: Where it lies.
        partitions: The partition of each of its batches, in their order.
    """

    path: Path
    partitions: list[int]


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
        self._written: list[int] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; column `prompt_id` tells their partition. Enums are stored by their codes."""
        codes = [pl.col(name).to_physical() for name, dtype in frame.schema.items() if isinstance(dtype, pl.Enum)]
        place = pl.col("prompt_id").str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int32) // self._divisor
        partitions = frame.select(place.alias("partition")).to_series()
        placed = gathered_rows(frame.with_columns(codes), partitions.arg_sort().to_numpy())
        sizes = partitions.value_counts().sort("partition")
        table = placed.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._path), table.schema)
        start = 0
        for partition, size in sizes.iter_rows():
            for batch in table.slice(start, size).combine_chunks().to_batches():
                self._file.write_batch(batch)
                self._written.append(partition)
            start += size

    def close(self) -> Run:
        """The finished run."""
        if self._file is not None:
            self._file.close()
        return Run(self._path, self._written)

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
    batches: dict[int, list[tuple[Path, int]]] = {}
    for run in runs:
        for index, partition in enumerate(run.partitions):
            batches.setdefault(partition, []).append((run.path, index))
    for partition in sorted(batches):
        yield from _read_partition(batches[partition], schema)


def _read_partition(places: list[tuple[Path, int]], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    held: list[Any] = []
    size = 0
    for batch in _batches(places):
        held.append(batch)
        size += batch.nbytes
        if size > _PASS_BYTES:
            break
    else:
        yield _frame(held, schema)
        return
    held.clear()
    for low, high in _key_ranges(places):
        inside = _KEY.is_between(pl.lit(low), pl.lit(high), closed="right")
        parts = [_frame([batch], schema).filter(inside) for batch in _batches(places)]
        yield pl.concat(parts, rechunk=True)


def _batches(places: list[tuple[Path, int]]) -> Iterator[Any]:
    for path, index in places:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            yield file.get_batch(index)


def _key_ranges(places: list[tuple[Path, int]]) -> list[tuple[str, str]]:
    """Ranges (from, to], about `_PASS_BYTES` of rows each, in ascending order of the joined keys."""
    keys: list[pl.Series] = []
    size = 0
    for batch in _batches(places):
        size += batch.nbytes
        frame = pl.DataFrame(pl.from_arrow(batch.select(["prompt_id", "response_id", "event_id"])))
        keys.append(frame.select(key=_KEY).to_series())
    ordered = pl.concat(keys).sort()
    count = -(-size // _PASS_BYTES)
    ends = [ordered[min(len(ordered), (index + 1) * -(-len(ordered) // count)) - 1] for index in range(count)]
    ends = sorted(set(ends))
    return list(zip(["", *ends[:-1]], ends, strict=True))


def _frame(batches: list[Any], schema: pl.Schema) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches)))
    codes = [pl.col(name).cat.to(dtype) for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    return frame.with_columns(codes)
