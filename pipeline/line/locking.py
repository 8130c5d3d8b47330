"""One process at a time in the folder of a run."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import BusyError
from ..storage.attached import shown_place

_FILE: Final = ".lock"
# Who only looks whether it is held has it for an instant.
_PATIENCE_SECONDS: Final = 0.3
_PAUSE_SECONDS: Final = 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends.

    Raises:
        BusyError: Another process holds it.
    """
    descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > patience:
                raise BusyError(
                    f"{shown_place(folder)}: another process is running this run. Wait for it, or stop it; "
                    f"`thumbline status {shown_place(folder)}` says how far it is."
                ) from None
            time.sleep(_PAUSE_SECONDS)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder's lock now."""
    try:
        descriptor = os.open(folder / _FILE, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # No locks on this disk, so nobody holds one.
        return False
    finally:
        os.close(descriptor)
    return False
