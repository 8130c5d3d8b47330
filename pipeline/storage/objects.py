"""Objects at an address that fsspec opens: read, written, listed; tried again where the store fails a while."""

import posixpath
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from thumbline.extras import is_installed, missing_words

from ..errors import ConfigError, InputError, MissingDependencyError
from ..hiding import holds_hidden, without_secrets
from .patience import FINAL_KINDS, Patience, error_words
from .uploads import Advance, Furthest

# Which library opens an address, by what it begins with.
_CLIENTS: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
}
_SIDE_BY_SIDE: Final = 8
# Stores in which an upload appears whole or not at all.
_STORES: Final = frozenset({*_CLIENTS, "oss", "memory"})
_Result = TypeVar("_Result")


def check_client(address: str) -> None:
    """Refuse an address whose client is not installed, by the line that installs it.

    Raises:
        MissingDependencyError: It is not.
    """
    library = _CLIENTS.get(address.partition("://")[0].lower())
    if library is not None and not is_installed(library):
        raise MissingDependencyError(missing_words(library, without_secrets(address)))


def open_objects(address: str, asked_by: str) -> "Objects":
    """What lies below an address such as `s3://bucket/runs/mine`; nothing is asked of the store yet.

    Args:
        address: With a protocol.
        asked_by: What it was given as, for errors.

    Raises:
        ConfigError: It is no object store's, or the address comes from settings that keep no secrets.
        MissingDependencyError: The client for that kind of address is not installed.
    """
    import fsspec

    shown = without_secrets(address)
    if holds_hidden(address):
        raise ConfigError(f"{asked_by}: the secret of {shown} is kept nowhere; give the address again.")
    if address.partition("://")[0].lower() not in _STORES:
        raise ConfigError(
            f"{asked_by}: {shown} is no object store's address, as s3://, gs:// and az:// are; of another kind of "
            f"place mount it, and give the folder."
        )
    check_client(address)
    try:
        # What another machine has written since must be seen.
        system, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise MissingDependencyError(f"{asked_by}: {shown} needs a client that is not installed: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{asked_by}: {shown} cannot be opened: {without_secrets(str(error))}") from error
    return Objects(system, root, shown)


class Objects:
    """Objects below one address; names are relative to it and joined by a slash.

    Every method raises InputError where the store refuses what is asked, and MachineError where it keeps failing.
    """

    def __init__(self, system: Any, root: str, shown: str) -> None:
        """Take the file system and the place in it.

        Args:
            system: An fsspec file system.
            root: The place.
            shown: Its address without secrets.
        """
        self._system = system
        self._root = str(root).rstrip("/")
        self._patience = Patience()
        self.shown: Final = shown.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        try:
            data: bytes = self._tried("read", name, lambda: self._system.cat_file(self._path(name)))
        except FileNotFoundError:
            return None
        return data

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Those of the named objects that are there, asked for side by side."""
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            found = zip(names, pool.map(self.read, names), strict=True)
            return {name: data for name, data in found if data is not None}

    def write(self, name: str, data: bytes) -> None:
        """Make an object, in place of one that is there; no reader sees a part of it."""
        with self._bucket(name):
            self._tried("written", name, lambda: self._put(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Make an object by a conditional put (`If-None-Match: *`); False where one of that name is there.

        A store that knows no such condition writes over what is there: see `Lease`.
        """

        def made() -> bool:
            try:
                self._put(name, data, mode="create")
            except FINAL_KINDS:
                raise
            except Exception:
                # Each client says in its own way that the condition does not hold; an answer may also have been lost.
                found = self.read(name)
                if found is None:
                    raise
                return found == data
            return True

        with self._bucket(name):
            return self._tried("written", name, made)

    def put(self, path: Path, name: str, advance: Advance | None = None) -> None:
        """Upload a file; large ones go in parts, and appear when the last has arrived.

        Args:
            path: The file.
            name: What it is called there.
            advance: Called with the number of bytes that have arrived.
        """
        told = Furthest(advance or (lambda _: None))
        with self._bucket(name):
            self._tried(
                "written",
                name,
                lambda: self._system.put_file(str(path), self._path(name), callback=told.callback()),
            )

    def get(self, name: str, path: Path) -> None:
        """Download an object; FileNotFoundError where there is none."""
        self._tried("read", name, lambda: self._system.get_file(self._path(name), str(path)))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of all objects below a folder, however deep, by their names below it; none where there is no such."""
        root = self._path(folder)

        def found() -> dict[str, int]:
            self._system.invalidate_cache(root)
            entries = self._system.find(root, detail=True)
            return {
                posixpath.relpath(path.lstrip("/"), root.lstrip("/")): int(entry["size"] or 0)
                for path, entry in entries.items()
            }

        try:
            return self._tried("listed", folder, found)
        except FileNotFoundError:
            return {}

    def entries(self, folder: str) -> list[str]:
        """Names of what lies in a folder, sorted: objects, and folders of objects; nothing below those is listed."""
        root = self._path(folder)

        def found() -> list[str]:
            self._system.invalidate_cache(root)
            return sorted(posixpath.basename(str(path).rstrip("/")) for path in self._system.ls(root, detail=False))

        try:
            return self._tried("listed", folder, found)
        except FileNotFoundError:
            return []

    def copy(self, name: str, new: str) -> None:
        """Give an object a second name; the store copies it. FileNotFoundError where there is none."""
        self._tried("copied", name, lambda: self._system.cp_file(self._path(name), self._path(new)))

    def remove(self, names: Sequence[str]) -> None:
        """Delete objects; those that are gone are no fault."""
        for name in names:
            try:
                self._tried("deleted", name, lambda name=name: self._system.rm_file(self._path(name)))  # type: ignore[misc]
            except FileNotFoundError:
                continue

    def address(self, name: str = "") -> str:
        """The address of an object, for messages."""
        return f"{self.shown}/{name}" if name else self.shown

    def _put(self, name: str, data: bytes, **options: Any) -> None:
        self._system.pipe_file(self._path(name), data, **options)

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name) if name else self._root

    def _tried(self, what: str, name: str, act: Callable[[], _Result]) -> _Result:
        """As `Patience.tried`, which has the errors."""
        return self._patience.tried(what, self.address(name), act)

    @contextmanager
    def _bucket(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(
                f"{self.address(name)}: cannot be written: no such bucket ({error_words(error)})."
            ) from error
