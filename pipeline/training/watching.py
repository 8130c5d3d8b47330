"""Who looks on while a model trains: told of each step, and of nothing that could change one."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from .checkpoints import LogRow


class Watch(Protocol):
    """What the loop tells of itself."""

    def begins(self, step: int, total: int, log: Sequence[LogRow]) -> None:
        """Training begins, or goes on after a checkpoint.

        Args:
            step: Optimiser steps done already.
            total: Those of the whole run.
            log: What was logged up to `step`.
        """

    def timed(self) -> AbstractContextManager[None]:
        """Around the work of one step, without validation and checkpoints."""

    def took(self, step: int, rows: Sequence[LogRow]) -> None:
        """A step is done, counted from 1, and this was logged."""

    def say(self, message: str) -> None:
        """One line that a person should read."""


class _Unwatched:
    def begins(self, step: int, total: int, log: Sequence[LogRow]) -> None:
        pass

    @contextmanager
    def timed(self) -> Iterator[None]:
        yield

    def took(self, step: int, rows: Sequence[LogRow]) -> None:
        pass

    def say(self, message: str) -> None:
        pass


UNWATCHED: Final[Watch] = _Unwatched()
