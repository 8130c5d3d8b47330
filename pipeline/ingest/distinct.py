"""Distinct values counted over any number of rows: 64-bit names on disk, a share of them in memory at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

# Rows looked at together; 16 bytes each at most, a few times over while they are sorted.
_AT_A_TIME: Final = 4_000_000


def append_numbers(path: Path, rows: np.ndarray) -> None:
    """Add (n, columns) uint64 to a file of rows."""
    with path.open("ab") as stream:
        stream.write(np.ascontiguousarray(rows).tobytes())


def count_distinct(paths: Sequence[Path]) -> int:
    """How many different numbers the files of single numbers hold together."""
    return sum(len(np.unique(rows)) for rows in _shares(paths, 1))


def count_contradicted(paths: Sequence[Path]) -> int:
    """How many first numbers of the files' pairs stand beside more than one second number."""
    return sum(map(_contradicted, _shares(paths, 2)))


def _contradicted(rows: np.ndarray) -> int:
    if not len(rows):
        return 0
    order = np.argsort(rows[:, 0], kind="stable")
    first, second = rows[order, 0], rows[order, 1]
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]])
    return int((np.minimum.reduceat(second, starts) != np.maximum.reduceat(second, starts)).sum())


def _shares(paths: Sequence[Path], columns: int) -> Iterator[np.ndarray]:
    """All rows, in shares that no first number crosses."""
    files = [
        np.memmap(path, dtype=np.uint64, mode="r").reshape(-1, columns)
        for path in paths
        if path.is_file() and path.stat().st_size
    ]
    count = 1 + sum(map(len, files)) // _AT_A_TIME
    for share in range(count if files else 0):
        # Names are hashes: their remainders are even.
        yield np.concatenate([rows[rows[:, 0] % count == share] for rows in files])
