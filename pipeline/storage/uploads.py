"""How far an upload is: bytes that have arrived, and a bar over those of a large one."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

# Called with the number of bytes, or of other units, that are just done.
Advance: TypeAlias = Callable[[int], None]
# Opens a bar by what is done, how many units it takes, and what the units are.
Progress: TypeAlias = Callable[[str, int, str], AbstractContextManager[Advance]]
# What takes a moment shows no bar.
_LARGE_BYTES: Final = 32 << 20
_MIB: Final = 20
_logger = logging.getLogger(__name__)


@contextmanager
def unseen(description: str, total: int, unit: str) -> Iterator[Advance]:
    """A bar for nobody: a line in the log."""
    _logger.info("%s: %d %s", description, total, unit)
    yield lambda _: None


@contextmanager
def shown(progress: Progress, description: str, size: int) -> Iterator[Advance]:
    """What is to be called with bytes that have arrived; of many it moves a bar.

    Args:
        progress: Opens the bar.
        description: What it says.
        size: Bytes of the whole upload.
    """
    if size < _LARGE_BYTES:
        yield lambda _: None
        return
    done = 0
    with progress(description, size >> _MIB, "MiB") as advance:

        def counted(count: int) -> None:
            nonlocal done
            before, done = done, done + count
            advance((done >> _MIB) - (before >> _MIB))

        yield counted


class Furthest:
    """How much of a file has arrived: what is sent again, after a try that failed, counts once."""

    def __init__(self, advance: Advance) -> None:
        """Begin with nothing.

        Args:
            advance: Called with the number of bytes that are new.
        """
        self._advance, self._furthest = advance, 0

    def callback(self) -> Any:
        """For one try, what fsspec tells of it."""
        # Imported here: a run in a folder needs nothing of it.
        from fsspec.callbacks import Callback

        furthest = self

        class Told(Callback):  # type: ignore[misc]
            def call(self, *_: Any, **__: Any) -> None:
                furthest._arrived(self.value)

        return Told()

    def _arrived(self, count: int) -> None:
        if count > self._furthest:
            self._advance(count - self._furthest)
            self._furthest = count
