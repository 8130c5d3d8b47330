"""What the system and libraries say goes wrong, as one message: what, where, and what to do.

A full disk, a closed folder or a broken file is met by whoever reads or writes at that moment, and each library has
errors of its own for it. All are told in one place.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from .errors import InputError, MachineError, PipelineError, TableError


class _Words(NamedTuple):
    """What an error of the system means.

    Attributes:
        what: Said of a path.
        advice: What to do.
        is_misuse: Whether the user named what cannot be, rather than the machine being unable.
    """

    what: str
    advice: str
    is_misuse: bool = False


_SYSTEM: Final = {
    errno.ENOSPC: _Words("no space is left on the disk", "Free some, or choose another place"),
    errno.EDQUOT: _Words("the disk quota is used up", "Free some space, or choose another place"),
    errno.EIO: _Words("the disk cannot be read or written (I/O error)", "Look at the disk and its connection"),
    errno.ENOMEM: _Words("there is not enough memory", "Free some, or use a larger machine"),
    errno.EMFILE: _Words("too many files are open", "Raise the limit: ulimit -n 4096"),
    errno.ENFILE: _Words("too many files are open on this machine", "Close other programs"),
    errno.EFBIG: _Words(
        "the file is larger than is allowed here", "Raise the limit (ulimit -f), or choose another disk"
    ),
    errno.ESTALE: _Words("the network disk has lost the file", "Mount it again"),
    errno.EBUSY: _Words("it is in use by another program", "Wait for it, or stop it"),
    errno.EROFS: _Words("the file system is read-only", "Choose another place", is_misuse=True),
    errno.EACCES: _Words("permission denied", "Ask for the right to use it, or choose another place", is_misuse=True),
    errno.EPERM: _Words("permission denied", "Ask for the right to use it, or choose another place", is_misuse=True),
    errno.ENOENT: _Words(
        "no such file or folder", "Look at the path; it may have been deleted meanwhile", is_misuse=True
    ),
    errno.ENOTDIR: _Words("a part of this path is a file, not a folder", "Choose another place", is_misuse=True),
    errno.EISDIR: _Words("a folder, where a file is expected", "Name a file", is_misuse=True),
    errno.EEXIST: _Words("something of this name is there already", "Choose another place", is_misuse=True),
    errno.ENOTEMPTY: _Words("the folder is not empty", "Another program writes there; choose another place"),
    errno.ENAMETOOLONG: _Words("the name is longer than the file system takes", "Choose a shorter one", is_misuse=True),
    errno.ELOOP: _Words("links that lead in a circle", "Mend them, or name what they are to stand for", is_misuse=True),
    errno.ENXIO: _Words("no file (a device or a pipe that nobody reads)", "Name a file", is_misuse=True),
}
# How libraries write the number of an error of the system into a text: polars and safetensors, pyarrow and Python.
_NUMBER: Final = re.compile(r"\b(?:os error|errno:?) (\d+)", re.IGNORECASE)
# Others' words for the same.
_TOLD: Final = (
    (re.compile(r"no space left|disk is full|PytorchStreamWriter|inline_container", re.IGNORECASE), errno.ENOSPC),
    (re.compile(r"disk i/o error|input/output error", re.IGNORECASE), errno.EIO),
    (re.compile(r"out of memory|bad allocation|bad_alloc|can't allocate|cannot allocate", re.IGNORECASE), errno.ENOMEM),
    (re.compile(r"read-only file system|readonly database", re.IGNORECASE), errno.EROFS),
    (re.compile(r"permission denied|unable to open database", re.IGNORECASE), errno.EACCES),
)
# Where the classes of errors of those libraries are: they are not imported for this.
_READERS: Final = ("polars", "pyarrow", "pyo3_runtime", "safetensors", "sqlite3")
# Names of files that are being written, by `storage.files`.
TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
# Where an error of a library keeps the file that it is about.
_OF_FILE: Final = "_thumbline_file"
_MOST_CHARACTERS: Final = 300


@contextmanager
def in_words(doing: str = "", folder: Path | None = None) -> Iterator[None]:
    """What goes wrong inside is raised as one message where it is no fault of the program.

    Args:
        doing: What was being done: a stage.
        folder: Where, for errors that name no file.

    Raises:
        PipelineError: Of the class that says whose mistake it is.
    """
    try:
        yield
    except PipelineError:
        raise
    # Panics of polars are no `Exception`.
    except BaseException as error:
        told = explained(error, doing, folder)
        if told is None:
            raise
        raise told from error


def explained(error: BaseException, doing: str = "", folder: Path | None = None) -> PipelineError | None:
    """An error of the system or of a reader of files as one of ours; None where it is something else.

    Args:
        error: As it was raised.
        doing: What was being done.
        folder: Where.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return None
    for one in _chain(error):
        number = _number(one)
        if number is not None:
            return _of_system(number, one, [doing, _file_of(one) or _named(error) or str(folder or "")])
    return _of_reader(error, [doing, str(folder or "")])


def is_of_disk(error: BaseException) -> bool:
    """Whether the system is behind an error, as it is where a disk is full, in whatever words; memory aside."""
    numbers = [number for number in map(_number, _chain(error)) if number is not None]
    return bool(numbers) and errno.ENOMEM not in numbers


def is_unexplained(error: BaseException) -> bool:
    """Whether an error is one of a reader or writer of files that does not say what the system said."""
    return _is_of(error, _READERS) and all(_number(one) is None for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, those that it was raised from, and what a library was dealing with when it raised its own."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        beside = one.__context__ if isinstance(one, OSError) or _is_of(one, _READERS) else None
        one = one.__cause__ or beside


def _number(error: BaseException) -> int | None:
    """The number of the error of the system that this one is, or tells of."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if not (isinstance(error, OSError | RuntimeError) or _is_of(error, _READERS)):
        return None
    text = str(error)
    found = _NUMBER.search(text)
    if found is not None:
        return int(found.group(1))
    return next((number for pattern, number in _TOLD if pattern.search(text)), None)


def _of_system(number: int, error: BaseException, places: list[str]) -> PipelineError:
    reason = getattr(error, "strerror", None) or _first_line(error)
    words = _SYSTEM.get(number, _Words(reason, "Look at the place and at the machine"))
    where = ": ".join(part for part in places if part)
    said = f"{where}: {words.what}. " if where else f"{words.what}. "
    if words.is_misuse:
        return InputError(f"{said}{words.advice}.")
    return MachineError(f"{said}{words.advice}; what is finished is kept, and the same command goes on from there.")


def _of_reader(error: BaseException, places: list[str]) -> PipelineError | None:
    where = "".join(f"{part}: " for part in places if part)
    if isinstance(error, RecursionError):
        return InputError(f"{where}values lie too deep inside one another to be read.")
    if isinstance(error, OSError):
        # Of a network or a hub, which have no number.
        return MachineError(f"{where}{type(error).__name__}: {_first_line(error)}")
    if _is_of(error, _READERS):
        return TableError(
            f"{where}a table cannot be read or made ({type(error).__name__}: {_first_line(error)}). Where a file of it "
            "was changed or cut, delete its folder: the stage then runs again."
        )
    return None


def _is_of(error: BaseException, modules: tuple[str, ...]) -> bool:
    return any((kind.__module__ or "").split(".")[0] in modules for kind in type(error).__mro__)


def _file_of(error: BaseException) -> str:
    """The file that an error names, as it is to be called; empty where it names none."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str | bytes) or not name:
        return ""
    path = Path(name.decode("utf-8", "replace") if isinstance(name, bytes) else name)
    temporary = TEMPORARY.fullmatch(path.name)
    return str(path.with_name(temporary.group(1)) if temporary is not None else path)


def name_file(error: BaseException, path: Path) -> None:
    """Let an error of the system, or a library's, tell of a file where it names none itself.

    Args:
        error: As it was raised. Its own words stay.
        path: The file that was being read or written.
    """
    if isinstance(error, OSError) and error.errno is not None:
        error.filename = error.filename or str(path)
    # One of a library that takes no attributes has its folder alone.
    with suppress(AttributeError):
        setattr(error, _OF_FILE, str(path))


def _named(error: BaseException) -> str:
    """The file that `name_file` has given to the error, or to one that it was raised from."""
    return next((name for one in _chain(error) if (name := getattr(one, _OF_FILE, ""))), "")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_MOST_CHARACTERS] if lines else type(error).__name__
