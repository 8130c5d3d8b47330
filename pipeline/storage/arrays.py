"""Flat files of plain numbers, mapped into memory: written in their order, looked up by place or counted by share."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

# Rows looked at together; 16 bytes each at most, a few times over while they are sorted.
SHARE_ROWS: Final = 4_000_000


class ArrayFile:
    """Writes one flat file of numbers."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        """Begin a file of numbers of `dtype`; its folder need not exist."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._dtype = np.dtype(dtype)
        self._file: IO[bytes] = path.open("wb")

    def append(self, numbers: npt.NDArray[Any]) -> None:
        """Add numbers at the end, row by row."""
        self._file.write(np.ascontiguousarray(numbers, dtype=self._dtype).data)

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._file.close()


def mapped(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """(n,) all numbers of a flat file; what is looked at is loaded by the operating system."""
    # What is empty cannot be mapped.
    if not path.is_file() or not path.stat().st_size:
        return np.empty(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r")


class RaggedPart(NamedTuple):
    """Lists of numbers of some rows.

    Attributes:
        indices: (rows,) which rows.
        values: (numbers,) their lists, one after the other.
    """

    indices: npt.NDArray[np.int64]
    values: npt.NDArray[Any]


class RaggedArray:
    """Lists of numbers of known lengths, in a flat file.

    Attributes:
        values: (numbers,) all of them, as they were written.
    """

    def __init__(
        self, path: Path, dtype: npt.DTypeLike, lengths: npt.NDArray[np.int64], parts: Iterable[RaggedPart]
    ) -> None:
        """Write the lists and map them.

        Args:
            path: The file, in a folder that need not exist.
            dtype: Type of the numbers.
            lengths: (rows,) numbers of each list.
            parts: The lists, in any order of their rows.
        """
        self._lengths, self._starts = lengths, np.zeros(len(lengths), dtype=np.int64)
        written = 0
        with ArrayFile(path, dtype) as file:
            for indices, values in parts:
                ends = written + lengths[indices].cumsum()
                self._starts[indices] = ends - lengths[indices]
                file.append(values)
                written += len(values)
        self.values = mapped(path, dtype)

    def at(self, index: int) -> npt.NDArray[Any]:
        """(numbers,) the list of a row, read from the file when it is looked at."""
        start = int(self._starts[index])
        return self.values[start : start + int(self._lengths[index])]


def shares(paths: Sequence[Path], columns: int, share_rows: int = SHARE_ROWS) -> Iterator[npt.NDArray[np.uint64]]:
    """All rows of files of uint64, in shares that no first number crosses.

    Args:
        paths: Flat files; one that is missing has no rows.
        columns: Numbers a row.
        share_rows: About how many rows are in a share.
    """
    files = [rows for path in paths if len(rows := mapped(path, np.uint64).reshape(-1, columns))]
    count = 1 + sum(map(len, files)) // share_rows
    for share in range(count if files else 0):
        # Numbers are hashes: their remainders are even.
        yield np.concatenate([rows[rows[:, 0] % count == share] for rows in files])
