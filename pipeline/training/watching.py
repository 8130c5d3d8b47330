"""Who looks on while a model trains: told of each step, and of nothing that could change one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Final, Protocol

from ..context import Reporter
from ..tracking import Delivery
from .checkpoints import LogRow
from .speed import Speed, SpeedMeter


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


class Onlooker:
    """Shows each step beside the progress bar and sends it to trackers."""

    def __init__(self, reporter: Reporter, deliveries: Sequence[Delivery], meter: SpeedMeter) -> None:
        """Begin with nothing shown.

        Args:
            reporter: Where the line goes.
            deliveries: One a tracker.
            meter: Measures the steps.
        """
        self._reporter, self._deliveries, self._meter = reporter, deliveries, meter

    def begins(self, step: int, total: int, log: Sequence[LogRow]) -> None:
        """Training begins, or goes on; trackers are given what they lack of the log so far."""
        self._meter.begins(step, total)
        for done, rows in groupby(log, key=lambda row: row.step):
            self._send(done, _named(list(rows)))

    def timed(self) -> AbstractContextManager[None]:
        """Around the work of one step."""
        return self._meter.timed()

    def took(self, step: int, rows: Sequence[LogRow]) -> None:
        """A step is done."""
        values = _named(rows)
        speed = self._meter.took(step, values["train/tokens"])
        self._reporter.note(line_of(values, speed))
        measured = {f"speed/{name}": value for name, value in speed._asdict().items() if value is not None}
        self._send(step, values | measured)

    def say(self, message: str) -> None:
        """One line that a person should read."""
        self._reporter.say(message)

    def _send(self, step: int, values: Mapping[str, float]) -> None:
        for delivery in self._deliveries:
            delivery.send(step, values)


def _named(rows: Sequence[LogRow]) -> dict[str, float]:
    return {f"{row.phase}/{row.metric}": row.value for row in rows}


# What is shown of a step, in few letters, with its digits.
_SHOWN: Final = (
    ("loss", "loss", ".4f"),
    ("reward_margin", "margin", ".3f"),
    ("accuracy", "accuracy", ".2f"),
    ("reward", "reward", ".3f"),
    ("kl_k1", "KL", ".3f"),
)


def line_of(values: Mapping[str, float], speed: Speed) -> str:
    """What stands beside the bar: loss, margin, accuracy, tokens a second, share of peak where it is known."""
    parts = [f"{word} {values[f'train/{name}']:{form}}" for name, word, form in _SHOWN if f"train/{name}" in values]
    parts.append(f"{speed.tokens_per_second:,.0f} tokens/s")
    parts += [] if speed.peak_share is None else [f"{speed.peak_share:.0%} of peak"]
    return "  ".join(parts)
