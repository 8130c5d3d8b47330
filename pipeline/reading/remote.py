"""Logs at an address (`s3://`, `gs://`, `https://` and whatever else fsspec knows), copied to the user's cache first.

A copy is kept under its address and what the store says of its content, so that a file is fetched once; reading it
from disk is what lets several processes read parts of it, and a lost connection cost nothing but a second try.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..config.caches import cache_dir
from ..errors import InputError, MissingDependencyError
from ..hiding import bare_address, holds_hidden
from ..storage.digests import digest_text
from ..storage.files import atomic_file
from ..storage.objects import check_client


class KeptSecretError(InputError):
    """An address of which only what may be shown is known."""


class RemoteFile(NamedTuple):
    """One fetched file.

    Attributes:
        name: Its address, without what may be a secret: user, password and query.
        path: Where the copy lies.
        explicit: Whether the user named this very file.
    """

    name: str
    path: Path
    explicit: bool


def fetch(address: str, is_log: Callable[[Path], bool]) -> list[RemoteFile]:
    """Copies of the files that an address, a remote folder or a glob stands for.

    Args:
        address: With a protocol.
        is_log: Whether a file of a folder or a glob is one to read, by its name.

    Raises:
        InputError: Nothing is there, or it cannot be fetched.
        KeptSecretError: The address comes from settings that keep no secrets.
        MissingDependencyError: The protocol's package is not installed.
    """
    if holds_hidden(address):
        raise KeptSecretError(f"{address}: its secret is kept nowhere; give the run file again, in which it stands.")
    shown = bare_address(address)
    check_client(shown)
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address)
        # What has been added since this process last looked must be seen.
        system.invalidate_cache()
        is_pattern = _is_pattern(system, path)
        explicit = not is_pattern and (bare_address(path) != path or not system.isdir(path))
        paths = [path] if explicit else _below(system, path, is_pattern=is_pattern)
        files = [
            RemoteFile(bare_address(system.unstrip_protocol(one)), _copy(system, one), explicit)
            for one in paths
            if explicit or is_log(Path(PurePosixPath(bare_address(one)).name))
        ]
    except ImportError as error:
        raise MissingDependencyError(f"{shown}: this kind of address needs another package: {error}.") from error
    except Exception as error:  # every store raises errors of its own
        raise InputError(f"{shown}: cannot be fetched ({type(error).__name__}). Is the address right?") from error
    if not files:
        raise InputError(f"{shown}: no log is there.")
    return files


def _is_pattern(system: Any, path: str) -> bool:
    """Whether a path is a glob; a file may have such a name, and parameters of an address may hold its signs."""
    import fsspec

    return fsspec.core.has_magic(bare_address(path)) and not system.isfile(path)


def _below(system: Any, path: str, *, is_pattern: bool) -> list[str]:
    paths = system.glob(path) if is_pattern else system.find(path)
    return sorted(str(one) for one in paths if not PurePosixPath(one).name.startswith((".", "_")))


def _copy(system: Any, path: str) -> Path:
    """The copy of one file, fetched where it is not there yet."""
    content = digest_text(system.unstrip_protocol(path), str(system.ukey(path)))
    copy = cache_dir() / "remote" / content / PurePosixPath(bare_address(path)).name
    if not copy.is_file():
        with atomic_file(copy) as temporary:
            system.get_file(path, str(temporary))
    return copy
