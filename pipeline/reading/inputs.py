"""What a run's `inputs` stand for: files, folders, globs and archives to a sorted list of files, each once."""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from ..errors import InputError
from ..storage.files import text_of
from .archives import unpack
from .contents import BINARY, SUFFIXES, is_zip, raw_head
from .hub import PREFIX
from .remote import fetch
from .streams import content_suffix, is_compressed

ARCHIVE: Final = ".zip"
_GLOB_SIGNS: Final = frozenset("*?[")
# What `datasets` writes beside the tables of a data set that it saves.
_BESIDE_TABLES: Final = frozenset({"state.json", "dataset_info.json", "dataset_dict.json"})


class InputFile(NamedTuple):
    """One file of a run.

    Attributes:
        name: The tables' `source_file`: the path as given, relative to the working folder where it lies below it, or
            the address of a remote file; of a file in an archive the archive's name and the path inside.
        path: Where it lies.
        explicit: Whether the user named this very file; a folder or a glob may also hold what is no log.
        added: Whether it was added to the inputs, so that what is stated of their format does not hold for it.
    """

    name: str
    path: Path
    explicit: bool
    added: bool = False


class Inputs(NamedTuple):
    """All that a run reads.

    Attributes:
        files: By name, each file once, in whatever order it was given.
        addresses: Hub data sets, sorted.
        skipped: What lies in the given folders and archives and is not read: how many by kind, such as `.md`.
    """

    files: list[InputFile]
    addresses: list[str]
    skipped: dict[str, int]

    @property
    def said(self) -> list[str]:
        """What was not read, in a sentence; none where all was."""
        total = sum(self.skipped.values())
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.skipped.items())
        what = "file was" if total == 1 else "files were"
        return [f"{total:,} {what} not read: {kinds}"] if total else []


def expand_inputs(entries: tuple[str, ...]) -> Inputs:
    """The files and data sets that `entries` stand for.

    Raises:
        InputError: An entry stands for nothing, or is an address, a folder, a file or an archive that cannot be read.
    """
    found = _Found()
    for entry in entries:
        if entry.startswith(PREFIX):
            continue
        if "://" in entry:
            for remote in fetch(entry, _is_log):
                found.add(InputFile(remote.name, remote.path, remote.explicit))
            continue
        found.add_entry(entry)
    addresses = sorted({entry for entry in entries if entry.startswith(PREFIX)})
    files, in_archives = _unpacked(sorted(found.files.values()))
    kinds = Counter(kind for path, kind in found.skipped.items() if path not in found.files) + in_archives
    return Inputs(sorted(files), addresses, dict(sorted(kinds.items())))


def with_added(inputs: Inputs, entries: tuple[str, ...]) -> Inputs:
    """The inputs and further files, whose format is their own; one that is among the inputs already stays theirs.

    Raises:
        InputError: As `expand_inputs`.
    """
    if not entries:
        return inputs
    added, known = expand_inputs(entries), {file.path.resolve() for file in inputs.files}
    more = [file._replace(added=True) for file in added.files if file.path.resolve() not in known]
    return inputs._replace(files=sorted([*inputs.files, *more]))


class _Found:
    """Files and what is none, by their true paths."""

    def __init__(self) -> None:
        self.files: dict[Path, InputFile] = {}
        self.skipped: dict[Path, str] = {}

    def add_entry(self, entry: str) -> None:
        """Everything that an entry stands for."""
        seen, others = False, Counter[str]()
        for path, explicit in _paths(entry):
            kind = None if explicit else _kind_of_skipped(path)
            if kind is not None:
                # A link that leads nowhere has no other path than its own.
                self.skipped[path.absolute() if path.is_symlink() else path.resolve()] = kind
                others[kind] += 1
                continue
            _refuse_closed(path, os.R_OK)
            seen = True
            self.add(InputFile(_name(path), path, explicit))
        if not seen:
            kinds = ", ".join(sorted({*SUFFIXES, ARCHIVE}))
            held = ", ".join(f"{kind} {count}" for kind, count in sorted(others.items()))
            beside = f" What there is: {held}." if held else ""
            raise InputError(
                f"{entry}: no such file, and no file of {kinds} (or these with .gz or .zst) below it.{beside}"
            )

    def add(self, file: InputFile) -> None:
        """A file; of two spellings of one the first by name, whichever was given first."""
        identity = file.path.resolve()
        other = self.files.get(identity, file)
        first = min(file, other, key=lambda one: (one.name, str(one.path)))
        self.files[identity] = first._replace(explicit=file.explicit or other.explicit)


def _unpacked(files: list[InputFile]) -> tuple[list[InputFile], Counter[str]]:
    """The files, archives replaced by what they hold, and what in these is no log."""
    found: list[InputFile] = []
    skipped = Counter[str]()
    for file in files:
        if not is_zip(raw_head(file.path)):
            found.append(file)
            continue
        try:
            held = unpack(file.path, file.name, _is_plain_log, _kind)
        except InputError:
            if file.explicit:
                raise
            # What cannot be unpacked is a reject of its own, as any file of a folder that cannot be read.
            found.append(file)
            continue
        if not held.files:
            skipped += _without_log(file, held.skipped)
            continue
        skipped += held.skipped
        # One file in an archive that the user named is what she named.
        explicit = file.explicit and len(held.files) == 1
        found += (InputFile(f"{file.name}/{inside}", copy, explicit) for inside, copy in held.files)
    return found, skipped


def _without_log(file: InputFile, held: Counter[str]) -> Counter[str]:
    """What an archive without a log is counted as.

    Raises:
        InputError: The user named it.
    """
    if file.explicit:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(held.items())) or "nothing"
        raise InputError(f"{file.name}: a zip archive without a log; it holds: {kinds}.")
    return Counter({f"{ARCHIVE} without a log": 1})


def _paths(entry: str) -> Iterator[tuple[Path, bool]]:
    path = Path(entry)
    if path.is_file():
        yield path, True
    elif path.is_dir():
        yield from ((file, False) for file in _walk(path))
    elif path.exists():
        raise InputError(
            f"{entry}: neither a file nor a folder (a pipe, a socket or a device); write it to a file first."
        )
    elif _GLOB_SIGNS & set(entry):
        _refuse_closed_folders(entry)
        for match in sorted(glob.glob(entry, recursive=True)):  # noqa: PTH207  leaves out hidden files
            inside = Path(match)
            if not inside.is_dir():
                yield inside, False
            elif "**" not in entry:
                yield from ((file, False) for file in _walk(inside))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, hidden ones and hidden folders too; links to folders are given and not followed.

    Raises:
        InputError: A folder cannot be read.
    """
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        links = [name for name in folders if Path(parent, name).is_symlink() or _is_hidden(name)]
        folders[:] = sorted(set(folders) - set(links))
        yield from (Path(parent) / name for name in sorted([*names, *links]))


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror}).") from error


def _refuse_closed_folders(pattern: str) -> None:
    """Raise InputError where a folder that a glob looks into cannot be read: the library would pass it over."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if _GLOB_SIGNS & set(part))
    if "**" in parts:
        for _ in os.walk(Path(*parts[:first]), onerror=_unreadable):
            pass
        return
    for depth in range(first, len(parts)):
        for folder in glob.glob(str(Path(*parts[:depth])) if depth else ".", recursive=False):  # noqa: PTH207
            if Path(folder).is_dir():
                _refuse_closed(Path(folder), os.R_OK | os.X_OK)


def _refuse_closed(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        raise InputError(f"{path}: cannot be read (permission denied).")


def _kind_of_skipped(path: Path) -> str | None:
    """What a path of a folder is counted as where it is not read; None where it is a log."""
    if _is_hidden(path.name):
        return "hidden"
    if not path.exists():
        return "link to nothing"
    if path.is_dir():
        return "link to a folder"
    if not stat.S_ISREG(path.stat().st_mode):
        return "pipe or device"
    return None if _is_log(path) and not _lies_beside_tables(path) else _kind(path)


def _lies_beside_tables(path: Path) -> bool:
    """Whether a file is what `datasets` notes of a data set, and not a log of that name."""
    if path.name not in _BESIDE_TABLES:
        return False
    return any(path.parent.glob("*.arrow")) or any(path.parent.glob("*/*.arrow"))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _kind(path: Path) -> str:
    """What a file that is no log is counted as: the end of its name."""
    suffix = content_suffix(path)
    return text_of(f"{suffix}{path.suffix.lower() if is_compressed(path) else ''}") or "without suffix"


def _is_log(path: Path) -> bool:
    return _is_plain_log(path) or path.suffix.lower() == ARCHIVE


def _is_plain_log(path: Path) -> bool:
    suffix = content_suffix(path)
    return suffix in SUFFIXES and not (suffix in BINARY and is_compressed(path))


def _name(path: Path) -> str:
    normal = Path(os.path.normpath(path))
    if normal.is_absolute() and normal.is_relative_to(Path.cwd()):
        normal = normal.relative_to(Path.cwd())
    return text_of(normal.as_posix())
