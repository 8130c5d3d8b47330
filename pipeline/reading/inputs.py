"""What a run's `inputs` stand for: files, folders and globs to a sorted list of files, each once."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import InputError
from .files import SUFFIXES
from .hub import PREFIX
from .remote import fetch
from .streams import content_suffix, is_compressed

_GLOB_SIGNS: Final = frozenset("*?[")


class InputFile(NamedTuple):
    """One file of a run.

    Attributes:
        name: The tables' `source_file`: the path as given, relative to the working folder where it lies below it, or
            the address of a remote file.
        path: Where it lies.
        explicit: Whether the user named this very file; a folder or a glob may also hold what is no log.
    """

    name: str
    path: Path
    explicit: bool


class Inputs(NamedTuple):
    """All that a run reads.

    Attributes:
        files: By name, each file once, in whatever order it was given.
        addresses: Hub data sets, sorted.
        skipped: Files of the given folders that no log's suffix names.
    """

    files: list[InputFile]
    addresses: list[str]
    skipped: int


def expand_inputs(entries: tuple[str, ...]) -> Inputs:
    """The files and data sets that `entries` stand for.

    Raises:
        InputError: An entry stands for nothing, or is an address that cannot be read.
    """
    by_path: dict[Path, InputFile] = {}
    skipped: set[Path] = set()
    addresses = sorted({entry for entry in entries if entry.startswith(PREFIX)})
    for entry in entries:
        if entry.startswith(PREFIX):
            continue
        if "://" in entry:
            for remote in fetch(entry, _is_log):
                by_path[remote.path.resolve()] = InputFile(remote.name, remote.path, remote.explicit)
            continue
        _add(entry, by_path, skipped)
    return Inputs(sorted(by_path.values()), addresses, len(skipped - set(by_path)))


def _add(entry: str, files: dict[Path, InputFile], skipped: set[Path]) -> None:
    before = len(files)
    seen = False
    for path, explicit in _paths(entry):
        identity = path.resolve()
        if not explicit and not _is_log(path):
            skipped.add(identity)
            continue
        seen = seen or identity in files
        file = InputFile(_name(path), path, explicit or (identity in files and files[identity].explicit))
        # Two spellings of one file: the name must not depend on which was given first.
        files[identity] = min(file, files.get(identity, file), key=lambda one: (one.name, str(one.path)))._replace(
            explicit=file.explicit
        )
    if len(files) == before and not seen:
        kinds = ", ".join(sorted(SUFFIXES))
        raise InputError(f"{entry}: no such file, and no file of {kinds} (or these with .gz or .zst) below it.")


def _paths(entry: str) -> Iterator[tuple[Path, bool]]:
    path = Path(entry)
    if path.is_file():
        yield path, True
    elif path.is_dir():
        yield from ((file, False) for file in _walk(path))
    elif _GLOB_SIGNS & set(entry):
        for match in sorted(glob.glob(entry, recursive=True)):  # noqa: PTH207  leaves out hidden files
            inside = Path(match)
            if inside.is_file():
                yield inside, False
            elif inside.is_dir() and "**" not in entry:
                yield from ((file, False) for file in _walk(inside))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, hidden ones and hidden folders left out; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith((".", "_")))


def _is_log(path: Path) -> bool:
    suffix = content_suffix(path)
    # Parquet compresses its own pages and is read at random places: a compressed one is no log that anyone writes.
    return suffix in SUFFIXES and not (suffix == ".parquet" and is_compressed(path))


def _name(path: Path) -> str:
    normal = Path(os.path.normpath(path))
    if normal.is_absolute() and normal.is_relative_to(Path.cwd()):
        normal = normal.relative_to(Path.cwd())
    return normal.as_posix()
