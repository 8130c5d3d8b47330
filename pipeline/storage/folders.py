"""Folders of small files that several machines may share: a local folder, or any address that fsspec opens."""

import posixpath
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ..errors import ConfigError, InputError, MissingDependencyError
from ..hiding import bare_address, holds_hidden, without_secrets
from .files import atomic_file
from .objects import check_client
from .patience import Patience

# Where an upload appears whole or not at all; elsewhere a file is written beside its name, then takes it.
_WHOLE_UPLOADS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"})
# Temporary files begin with a dot, and no listing shows them.
_HIDDEN: Final = "."
_Result = TypeVar("_Result")


class FileFacts(NamedTuple):
    """One file of a folder.

    Attributes:
        name: Without the folder.
        size: Bytes.
        modified: Seconds since 1970; None where the file system does not say.
    """

    name: str
    size: int
    modified: float | None


class Folder(Protocol):
    """A folder of folders of files; names are relative and joined by a slash."""

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted."""

    def files(self, folder: str, *, unfinished: bool = False) -> list[FileFacts]:
        """The files of one folder, sorted by name; none where there is no such folder.

        Args:
            folder: Its name.
            unfinished: Those instead that a killed process left half written.
        """

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Make a file that is whole as soon as it can be seen."""

    def rename(self, name: str, new: str) -> None:
        """Give a file another name; nothing happens where it is gone."""

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens where it is gone."""

    def address(self, name: str) -> str:
        """The file's whole address, for messages."""


def open_folder(address: str | Path) -> Folder:
    """The folder at a path or an address such as `s3://bucket/store`; nothing is created yet.

    Raises:
        ConfigError: No file system of that name is known, or the address comes from settings that keep no secrets.
        MissingDependencyError: The client for that kind of address is not installed.
    """
    text = str(address)
    if "://" not in text:
        return LocalFolder(Path(address))
    import fsspec

    shown = without_secrets(text)
    if holds_hidden(text):
        raise ConfigError(f"reference.store: the secret of {shown} is kept nowhere; give the address again.")
    check_client(text)
    try:
        system, root = fsspec.core.url_to_fs(text)
    except ImportError as error:
        raise MissingDependencyError(
            f"reference.store: {shown} needs a client that is not installed: {error}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"reference.store: {shown} cannot be opened: {without_secrets(str(error))}") from error
    if text.startswith(("file://", "local://")):
        return LocalFolder(Path(root))
    return RemoteFolder(system, root, text.split("://", 1)[0])


class LocalFolder:
    """A folder of this machine, or of a file system that is mounted here."""

    def __init__(self, root: Path) -> None:
        """Take the folder, which need not exist."""
        self._root = root

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted."""
        return sorted(path.name for path in self._root.iterdir() if path.is_dir()) if self._root.is_dir() else []

    def files(self, folder: str, *, unfinished: bool = False) -> list[FileFacts]:
        """The files of one folder, sorted by name, or those that were left half written."""
        root = self._root / folder
        found = []
        for path in sorted(root.iterdir()) if root.is_dir() else []:
            try:
                status = path.stat()
            except FileNotFoundError:
                # Another process that shares the folder was quicker.
                continue
            if path.is_file() and path.name.startswith(_HIDDEN) == unfinished:
                found.append(FileFacts(path.name, status.st_size, status.st_mtime))
        return found

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Make a file that is whole as soon as it can be seen, synced to disk."""
        try:
            with atomic_file(self._root / name) as temporary:
                temporary.write_bytes(data)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InputError(f"{self._root / name}: cannot be written: {error.strerror}.") from error

    def rename(self, name: str, new: str) -> None:
        """Give a file another name."""
        try:
            (self._root / name).replace(self._root / new)
        except FileNotFoundError:
            return

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self._root / name).unlink(missing_ok=True)

    def address(self, name: str) -> str:
        """The file's path."""
        return str(self._root / name)


class RemoteFolder:
    """A folder behind an fsspec file system."""

    def __init__(self, system: Any, root: str, protocol: str) -> None:
        """Take the file system and the folder in it.

        Args:
            system: An fsspec file system.
            root: The folder's path in it.
            protocol: What the address began with.
        """
        self._system = system
        self._root = root.rstrip("/")
        self._protocol = protocol
        self._patience = Patience()

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted."""
        return sorted(self._base(entry) for entry in self._list("") if entry["type"] == "directory")

    def files(self, folder: str, *, unfinished: bool = False) -> list[FileFacts]:
        """The files of one folder, sorted by name, or those that were left half written."""
        return sorted(
            FileFacts(self._base(entry), int(entry["size"] or 0), _modified(entry))
            for entry in self._list(folder)
            if entry["type"] == "file" and self._base(entry).startswith(_HIDDEN) == unfinished
        )

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        data: bytes = self._tried("read", name, lambda: self._system.cat_file(self._path(name)))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Make a file that is whole as soon as it can be seen."""
        self._tried("written", name, lambda: self._put(name, data))

    def _put(self, name: str, data: bytes) -> None:
        if self._protocol in _WHOLE_UPLOADS:
            self._system.pipe_file(self._path(name), data)
            return
        folder, _, base = name.rpartition("/")
        self._system.makedirs(self._path(folder), exist_ok=True)
        # Its own name: another machine may be writing the same shard.
        temporary = self._path(f"{folder}/{_HIDDEN}{base}.{uuid.uuid4().hex}.tmp")
        self._system.pipe_file(temporary, data)
        self._move(temporary, self._path(name))

    def rename(self, name: str, new: str) -> None:
        """Give a file another name."""
        self._unless_gone(lambda: self._move(self._path(name), self._path(new)), name)

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._unless_gone(lambda: self._system.rm_file(self._path(name)), name)

    def address(self, name: str) -> str:
        """The file's address."""
        return bare_address(f"{self._protocol}://{self._path(name).lstrip('/')}")

    def _move(self, source: str, target: str) -> None:
        """As `mv`, which takes [ ] * ? of a name for a pattern where the file system has none of its own."""
        from fsspec import AbstractFileSystem

        if type(self._system).mv is AbstractFileSystem.mv:
            self._system.cp_file(source, target)
            self._system.rm_file(source)
        else:
            self._system.mv(source, target)

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name) if name else self._root

    def _list(self, folder: str) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            # What another machine has added since must be seen.
            self._system.invalidate_cache(self._path(folder))
            entries: list[dict[str, Any]] = self._system.ls(self._path(folder), detail=True)
            return entries

        try:
            return self._tried("listed", folder, found)
        except FileNotFoundError:
            return []

    def _base(self, entry: dict[str, Any]) -> str:
        return posixpath.basename(str(entry["name"]).rstrip("/"))

    def _unless_gone(self, act: Callable[[], object], name: str) -> None:
        try:
            self._tried("changed", name, act)
        except FileNotFoundError:
            return

    def _tried(self, what: str, name: str, act: Callable[[], _Result]) -> _Result:
        """As `Patience.tried`, which has the errors."""
        return self._patience.tried(what, self.address(name), act)


def _modified(entry: dict[str, Any]) -> float | None:
    """Seconds since 1970 from what file systems call it."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return None
