"""Files that appear whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from ..errors import InputError
from ..troubles import TEMPORARY, is_unexplained, name_file

# A page of memory, which file systems give at a time, and more.
_ASKED_BYTES: Final = 65_536


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
    """The path as libraries are to be given it: absolute, since `~/x` is a home and `s3:x` an address to some.

    Raises:
        InputError: It is not UTF-8, and they take no other.
    """
    exact = str(path.absolute())
    try:
        exact.encode()
    except UnicodeEncodeError as error:
        found = TEMPORARY.fullmatch(path.name)
        shown = path if found is None else path.with_name(found.group(1))
        raise InputError(
            f"{shown}: this name is not UTF-8, so no table can be read or written there; choose another."
        ) from error
    return exact


def text_of(name: str) -> str:
    """A file's name as tables and documents can hold it: bytes that are not UTF-8 are shown as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name, synced to disk, once the block ends well.

    A link stays what it is: what it leads to is written.

    Raises:
        InputError: What lies there is no file: a folder, a device or a pipe. Nothing has been written then.
    """
    target = writable_file(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    # Writing to what is open names no file, whether Python writes or a library. Panics of polars are no `Exception`.
    except BaseException as error:
        name_file(error, target)
        if is_unexplained(error):
            _ask_disk(temporary, target)
        raise
    finally:
        # What cannot be deleted either must not hide why nothing was written.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _ask_disk(temporary: Path, target: Path) -> None:
    """Raise what the system says to a few more bytes, where a library did not say why it wrote no more."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(_ASKED_BYTES))
        sync(temporary)
    except OSError as error:
        name_file(error, target)
        raise


def writable_file(path: Path) -> Path:
    """Where a file of that name is written: the path itself, or what it leads to where it is a link.

    Raises:
        InputError: What lies there is no file, or its links lead in a circle.
    """
    try:
        target = Path(os.path.realpath(path, strict=False)) if path.is_symlink() else path
        # Of the path: what a name of a pipe in /proc leads to has no path.
        mode = path.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place.") from error
    if stat.S_ISREG(mode):
        return target
    what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
    raise InputError(f"{path}: {what}, not a file, and is not replaced; name a file.")


def _temporary(path: Path) -> Path:
    """A name beside `path` that no other process takes: two containers on one disk may have equal process numbers."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def remove_temporary(folder: Path, name: str | None = None) -> None:
    """Delete what writers of files in the folder left that were killed; who writes there at the same time loses it.

    Args:
        folder: Where they wrote.
        name: Of the file that they wrote; None: any.
    """
    for path in folder.glob(".*.tmp"):
        # Others have hidden files of such an end, too.
        found = TEMPORARY.fullmatch(path.name)
        if found is not None and name in (None, found.group(1)) and path.is_file():
            path.unlink(missing_ok=True)


def free_place(path: Path) -> Path:
    """Where one command writes a file of the user's choice, without what it left there when it was killed.

    Raises:
        InputError: What lies there is no file.
    """
    target = writable_file(path)
    if target.parent.is_dir():
        remove_temporary(target.parent, target.name)
    return path


def check_place(path: Path) -> None:
    """Refuse a file of the user's choice that cannot be written, before work is done for it.

    Raises:
        InputError: What lies there is no file.
        OSError: Its folder cannot be made or written to.
    """
    target = writable_file(free_place(path))
    temporary = _temporary(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        name_file(error, target)
        raise
    temporary.unlink()


def writable_text(text: str) -> str:
    """`text` as UTF-8 has it: halves of characters, which names of files and arguments may hold, are escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; see `writable_text`."""
    with atomic_file(path) as temporary:
        temporary.write_text(writable_text(text), encoding="utf-8")


def write_passing(path: Path, text: str) -> None:
    """Write `text` as UTF-8 so that a reader sees all or nothing of it; a power cut may lose it."""
    with passing_file(path) as temporary:
        temporary.write_text(writable_text(text), encoding="utf-8")


@contextmanager
def passing_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name once the block ends well; a power cut may lose it."""
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        name_file(error, path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
