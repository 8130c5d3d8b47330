"""Zip archives as folders of logs: what they hold is unpacked once, into the user's cache, and read like any file."""

import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from ..config.caches import cache_dir
from ..errors import InputError
from ..storage.digests import cached_digest
from ..storage.files import atomic_file
from .streams import MAX_DECOMPRESSION_RATIO

_FREE_OUTPUT_BYTES: Final = 1 << 20
_ENCRYPTED: Final = 1
# What `zipfile` raises of archives: NotImplementedError of a compression that it does not know, UnicodeDecodeError of
# names that are not in the encoding that they claim.
_SHOWN_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
)


class Unpacked(NamedTuple):
    """What a zip archive holds.

    Attributes:
        files: Path inside the archive, and where the copy lies.
        skipped: What is no log, by kind.
    """

    files: list[tuple[str, Path]]
    skipped: Counter[str]


def unpack(path: Path, name: str, is_log: Callable[[Path], bool], kind: Callable[[Path], str]) -> Unpacked:
    """Copies of the logs in a zip archive, in its order.

    Args:
        path: The archive.
        name: How the user named it.
        is_log: Whether a file is one to read, by its name.
        kind: What a file that is none is counted as.

    Raises:
        InputError: It is damaged, encrypted, an Office file, or unfolds too far.
    """
    folder = cache_dir() / "unpacked" / cached_digest(path)
    found = Unpacked([], Counter())
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_office(archive, name)
            for number, member in enumerate(archive.infolist()):
                inside = PurePosixPath(member.filename.replace("\\", "/"))
                if member.is_dir() or _is_hidden(inside):
                    continue
                if not is_log(Path(inside.name)):
                    found.skipped[kind(Path(inside.name))] += 1
                    continue
                copy = folder / f"{number:05d}-{inside.name}"
                _copy(archive, member, copy, name)
                found.files.append((inside.as_posix().lstrip("/"), copy))
    except _SHOWN_DAMAGE as error:
        raise InputError(
            f"{name}: the zip archive is damaged or of an unknown kind ({type(error).__name__})."
        ) from error
    return found


def _refuse_office(archive: zipfile.ZipFile, name: str) -> None:
    names = set(archive.namelist())
    if "[Content_Types].xml" in names or "mimetype" in names:
        what = "an Excel workbook" if "xl/workbook.xml" in names else "an Office file"
        raise InputError(f"{name}: {what}, which is not read; save the sheet as CSV in UTF-8.")


def _is_hidden(inside: PurePosixPath) -> bool:
    return any(part.startswith((".", "_")) for part in inside.parts if part not in (".", ".."))


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, copy: Path, name: str) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise InputError(f"{name}: the zip archive is encrypted; unpack it with its password first.")
    if member.file_size > max(_FREE_OUTPUT_BYTES, MAX_DECOMPRESSION_RATIO * member.compress_size):
        raise InputError(f"{name}: '{member.filename}' grows to more than {MAX_DECOMPRESSION_RATIO} times its size.")
    if copy.is_file():
        return
    with atomic_file(copy) as temporary, archive.open(member) as stream, Path(temporary).open("wb") as target:
        shutil.copyfileobj(stream, target)
