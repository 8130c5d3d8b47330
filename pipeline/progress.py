"""How far a piece of work is and when it is done: counted as it goes, said in a few words."""

import time
from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


class Progress:
    """Units of work, counted.

    Attributes:
        description: What is done.
        total: Units of the whole work.
        unit: What is counted, in the plural.
        done: Units done so far.
        note: Words on the last of them, such as its loss.
    """

    def __init__(self, description: str, total: int, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing done.

        Args:
            description: What is done.
            total: Units of the whole work.
            unit: What is counted, in the plural.
            clock: Seconds that pass.
        """
        self.description, self.total, self.unit = description, total, unit
        self.done, self.note = 0, ""
        self._clock = clock
        # What is told first was done before, by a process that was killed: it says nothing of the pace.
        self._first: tuple[float, int] | None = None
        self._last = clock()

    def advance(self, done: int) -> None:
        """So many more units are done."""
        self.done += done
        self._last = self._clock()
        if self._first is None:
            self._first = (self._last, self.done)

    def seconds_left(self) -> float | None:
        """Until the last unit, at the pace so far; None before there is one."""
        if self._first is None or self.done <= self._first[1]:
            return None
        began, before = self._first
        pace = (self._last - began) / (self.done - before)
        return max(0.0, pace * (self.total - self.done) - (self._clock() - self._last))

    def words(self, stage: str | None = None) -> str:
        """As `told`."""
        return told(stage, self.description, self.done, self.total, self.unit, self.note, self.seconds_left())


def told(
    stage: str | None, description: str, done: int, total: int, unit: str, note: str, seconds_left: float | None
) -> str:
    """As in `train step 40 of 110, loss 0.61, 3 min left`.

    Args:
        stage: Whose work it is; None where it is no stage's.
        description: What is done.
        done: Units done so far.
        total: Those of the whole work.
        unit: What is counted, in the plural.
        note: Words on the last of them, two spaces between parts; may be empty.
        seconds_left: None where that is not known.
    """
    if unit == "steps":
        parts = [f"{stage or description} step {done:,} of {total:,}"]
    else:
        parts = [f"{stage}: {description}" if stage else description, f"{done:,} of {total:,} {unit}"]
    parts += [part for part in note.split("  ") if part]
    parts += [] if seconds_left is None else [f"{duration(seconds_left)} left"]
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time span in a number and a word, to its first digits."""
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} days"
