"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..errors import InputError


def make_folder(path: Path) -> None:
    """Make the folder and those above it, where they are not there yet.

    Raises:
        InputError: It cannot be made: a file lies there, or the place cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: no folder can be made here ({error.strerror}); choose another place.") from error


def exact_path(path: Path) -> str:
    """The path as libraries are to be given it: absolute, since `~/x` is a home and `s3:x` an address to some."""
    return str(path.absolute())


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name, synced to disk, once the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def user_table_format(path: Path) -> Literal["parquet", "jsonl"]:
    """How a user's file is to be read, by its name.

    Raises:
        InputError: The name ends in neither.
    """
    if path.suffix == ".parquet":
        return "parquet"
    if path.suffix in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    raise InputError(f"{path}: expected a .parquet or .jsonl file, not '{path.suffix}'.")


def sync(path: Path) -> None:
    """Wait until what a file or a folder holds is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
