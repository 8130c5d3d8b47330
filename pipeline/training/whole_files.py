"""Files of tensors that are read only where they are whole."""

import errno
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import torch

# What torch and zipfile raise for a file that is gone, was cut short, or changed.
DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, pickle.UnpicklingError, RuntimeError, EOFError, FileNotFoundError),
    *(LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError),
)


def read_whole(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote to a file.

    Raises:
        Exception: One of `DAMAGE`.
    """
    check_whole(path)
    # weights_only: the file is tensors and plain values, and nothing else in it is ever executed.
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def check_whole(path: Path) -> None:
    """Compare every part of a file with the checksum that torch wrote beside it, which torch does not when it reads.

    Raises:
        Exception: One of `DAMAGE`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # It leads to a place before the file's beginning.
        raise zipfile.BadZipFile("a place outside the file") from error
    if broken is not None:
        raise zipfile.BadZipFile(f"checksum of {broken}")


def first_line(error: Exception) -> str:
    """An error's words, without torch's advice below them."""
    return str(error).partition("\n")[0]
