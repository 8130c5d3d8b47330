"""Tables that one process hands to another by way of a disk that both see: Arrow streams, one file for several.

Such a file lives for minutes. It is not compressed, it holds nothing that reading it could run, and it appears whole or
not at all: of a task that is run twice the two files are as good as one, whichever is read.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import polars as pl

from .files import passing_file

# With strings in one piece: views would bring along all of the texts that a slice was cut from.
_LAYOUT = pl.CompatLevel.oldest()


class FrameFile(NamedTuple):
    """A file of tables.

    Attributes:
        path: Where it lies.
        sizes: The tables' names in their order, each with the bytes that it takes.
    """

    path: Path
    sizes: tuple[tuple[str, int], ...]


def write_frames(path: Path, frames: Mapping[str, pl.DataFrame]) -> FrameFile:
    """Write tables to one file, in a folder that is there."""
    sizes = []
    with passing_file(path) as temporary, temporary.open("wb") as file:
        for name, frame in frames.items():
            before = file.tell()
            # In one piece: how rows lie in memory would else show in the sizes.
            frame.rechunk().write_ipc_stream(file, compression="uncompressed", compat_level=_LAYOUT)
            sizes.append((name, file.tell() - before))
    return FrameFile(path, tuple(sizes))


def read_frames(written: FrameFile) -> dict[str, pl.DataFrame]:
    """The tables of a file by their names; they are in memory, and the file is not needed any more."""
    with written.path.open("rb") as file:
        return {name: pl.read_ipc_stream(BytesIO(file.read(size))) for name, size in written.sizes}


def read_frame(written: FrameFile, name: str) -> pl.DataFrame:
    """One table of a file."""
    names = [own for own, _ in written.sizes]
    place = names.index(name)
    with written.path.open("rb") as file:
        file.seek(sum(size for _, size in written.sizes[:place]))
        return pl.read_ipc_stream(BytesIO(file.read(written.sizes[place][1])))


def take_frames(written: FrameFile) -> dict[str, pl.DataFrame]:
    """As `read_frames`, and the file is deleted."""
    frames = read_frames(written)
    written.path.unlink(missing_ok=True)
    return frames
