"""Digests of texts, values and files."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..config.caches import cache_dir
from .files import write_passing

_READ_BYTES: Final = 1 << 20
# A file changed this shortly ago may change again without its time telling: its digest is not kept.
_SETTLED_SECONDS: Final = 2.0
_logger = logging.getLogger(__name__)
# What this process has read or written itself, by the file's identity.
_known: dict[tuple[int, ...], str] = {}


def digest_text(*parts: str) -> str:
    """32 hexadecimal digits of a SHA-256 over the parts, each preceded by its length."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", errors="surrogatepass")
        hasher.update(f"{len(data)}:".encode())
        hasher.update(data)
    return hasher.hexdigest()[:32]


def digest_json(value: object) -> str:
    """32 hexadecimal digits over `value` as canonical JSON."""
    return digest_text(json.dumps(value, sort_keys=True, ensure_ascii=True, default=str))


def compact_json(value: object) -> str:
    """`value` as JSON without spaces, its keys in their order: templates write them so, and models call tools so.

    Raises:
        ValueError: It holds a number that JSON has no word for.
        TypeError: It holds what is no value of JSON.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest_file(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def cached_digest(path: Path, digest: Callable[[Path], str] = digest_file) -> str:
    """The file's digest, from memory or the cache where the file is the one that was read before.

    A file is the same while its device, inode, size and both of its times are: whoever writes to it, by whichever of
    its names, changes its times, the second of which no program can set.

    Args:
        path: A file.
        digest: Computes it where the cache has none.
    """
    status = path.stat()
    identity = _identity(status)
    if identity in _known:
        return _known[identity]
    entry = cache_dir() / "digests" / f"{digest_json(identity)}.json"
    found = _read_entry(entry)
    if found is None:
        found = digest(path)
        _keep(entry, path, status, found)
    _known[identity] = found
    return found


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read_entry(entry: Path) -> str | None:
    if not entry.is_file():
        return None
    try:
        kept = json.loads(entry.read_text(encoding="utf-8"))
        if kept["check"] == digest_json([entry.stem, kept["sha256"]]):
            return str(kept["sha256"])
    except (ValueError, KeyError, TypeError, OSError):
        _logger.debug("%s cannot be read; the digest is computed again", entry)
    entry.unlink(missing_ok=True)
    return None


def _keep(entry: Path, path: Path, status: os.stat_result, found: str) -> None:
    if time.time() - max(status.st_mtime, status.st_ctime) <= _SETTLED_SECONDS:
        return
    kept = {"file": str(path.resolve()), "sha256": found, "check": digest_json([entry.stem, found])}
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        # Not synced, which would take most of the time of thousands of small files: a lost or cut entry is made again.
        write_passing(entry, json.dumps(kept))
    except OSError as error:
        # A home that cannot be written to costs time, nothing else.
        _logger.debug("The digest of %s is not kept: %s", path, error)
