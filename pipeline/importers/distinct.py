"""Distinct values counted over any number of rows: 64-bit names on disk, a share of them in memory at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

# Numbers sorted at a time; 16 bytes each at most.
_AT_A_TIME: Final = 4_000_000

Numbers = np.ndarray


class NumberWriter:
    """Collects rows of numbers, each row once, and writes them to one file."""

    def __init__(self, columns: int) -> None:
        """Begin with none.

        Args:
            columns: Numbers a row.
        """
        self._columns = columns
        self._found = [np.empty((0, columns), dtype=np.uint64)]
        self._pending = 0

    def add(self, rows: Numbers) -> None:
        """Add (n, columns) uint64."""
        self._found.append(rows)
        self._pending += len(rows)
        if self._pending > _AT_A_TIME:
            self._found, self._pending = [np.unique(np.concatenate(self._found), axis=0)], 0

    def save(self, path: Path) -> None:
        """Write all rows, each once."""
        with path.open("wb") as stream:
            np.save(stream, np.unique(np.concatenate(self._found), axis=0), allow_pickle=False)


def count_distinct(paths: Sequence[Path]) -> int:
    """How many different rows the files hold together."""
    return sum(len(rows) for rows in _shares(paths))


def count_repeated_firsts(paths: Sequence[Path]) -> int:
    """How many first numbers stand in more than one different row."""
    repeated = 0
    for rows in _shares(paths):
        _, counts = np.unique(rows[:, 0], return_counts=True)
        repeated += int((counts > 1).sum())
    return repeated


def _shares(paths: Sequence[Path]) -> Iterator[Numbers]:
    """All different rows, in shares that no first number crosses."""
    files = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    count = 1 + sum(map(len, files)) // _AT_A_TIME
    for share in range(count):
        # Names are hashes: their remainders are even.
        rows = np.concatenate([rows[rows[:, 0] % count == share] for rows in files])
        yield np.unique(rows, axis=0)
