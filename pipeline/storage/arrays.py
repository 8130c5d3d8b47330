"""Flat files of plain numbers, written in their order: mapped and looked up by place, or read and counted by share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

# Rows looked at together; 16 bytes each at most, a few times over while they are sorted.
SHARE_ROWS: Final = 2_000_000
# Each is an open file for a while.
_MOST_SHARES: Final = 256
_BLOCK_ROWS: Final = 500_000
_NUMBER_BYTES: Final = 8


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
        paths: Flat files; one that is missing has no rows. Beside the first one shares lie meanwhile.
        columns: Numbers a row.
        share_rows: About how many rows are in a share.
    """
    held = [path for path in paths if path.is_file()]
    if rows := sum(path.stat().st_size for path in held) // (columns * _NUMBER_BYTES):
        yield from in_shares(
            chain.from_iterable(_blocks(path, columns) for path in held), rows, held[0].parent, share_rows
        )


def in_shares(
    blocks: Iterable[npt.NDArray[np.uint64]], rows: int, folder: Path | None, share_rows: int = SHARE_ROWS
) -> Iterator[npt.NDArray[np.uint64]]:
    """Rows of numbers in shares that no first number crosses, those of a share in the order in which they came.

    Args:
        blocks: (rows, columns) each, at least one.
        rows: How many there are in all.
        folder: Where shares lie meanwhile; None: there is one share.
        share_rows: About how many rows are in a share.
    """
    count = min(1 + rows // share_rows, _MOST_SHARES)
    if folder is None or count == 1:
        yield np.concatenate(list(blocks))
        return
    with TemporaryDirectory(prefix="shares-", dir=folder) as place:
        paths = [Path(place) / str(share) for share in range(count)]
        with ExitStack() as open_files:
            files = [open_files.enter_context(ArrayFile(path, np.uint64)) for path in paths]
            for block in blocks:
                columns = block.shape[1]
                # Numbers are hashes: their remainders are even. Of 16 bits, which numpy sorts by digit.
                share = (block[:, 0] % np.uint64(count)).astype(np.uint16)
                ends = np.bincount(share, minlength=count).cumsum()
                ordered = block[np.argsort(share, kind="stable")]
                for file, own in zip(files, np.split(ordered, ends[:-1]), strict=True):
                    file.append(own)
        for path in paths:
            if len(numbers := np.fromfile(path, np.uint64)):
                yield numbers.reshape(-1, columns)
            path.unlink()


def _blocks(path: Path, columns: int) -> Iterator[npt.NDArray[np.uint64]]:
    """A file's rows, some at a time: mapped, all of them would count as this process's memory."""
    with path.open("rb") as file:
        while len(numbers := np.fromfile(file, np.uint64, _BLOCK_ROWS * columns)):
            yield numbers.reshape(-1, columns)
