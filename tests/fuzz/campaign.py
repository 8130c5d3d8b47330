"""Feeds targets with inputs for a while, and counts what came of them."""

import faulthandler
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import numpy as np
import polars as pl

from tests.fuzz.cases import Case, Outcome, Target, keep, write_files

# Of a small input, CPU time: a loaded machine is no fault. Code that does not come back to Python ends the process.
_CPU_SECONDS: Final = 10.0
_STUCK_SECONDS: Final = 180
# So many inputs are checked together (`Target.settle`).
_TOGETHER: Final = 100
# So many inputs of one fault are kept.
_KEPT: Final = 3


class TooLongError(BaseException):
    """An input took more time than any small one may; nothing that reads takes it for an error of its own."""


# A panic of polars is no `Exception` either.
_RAISED: Final = (Exception, TooLongError, pl.exceptions.PanicException)


@dataclass
class Tally:
    """What came of a target's inputs.

    Attributes:
        outcomes: Inputs by what came of them.
        faults: Inputs by what was raised, and where.
        seconds: Time.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.outcomes.total() + self.faults.total()


@contextmanager
def bounded(seconds: float = _CPU_SECONDS) -> Iterator[None]:
    """Raises `TooLongError` inside after so many seconds of CPU time."""

    def end(_: int, __: FrameType | None) -> NoReturn:
        raise TooLongError(f"more than {seconds:g} CPU-seconds")

    before = signal.signal(signal.SIGPROF, end)
    faulthandler.dump_traceback_later(_STUCK_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


@contextmanager
def laid_out(case: Case, place: Path) -> Iterator[Path]:
    """The files of a case in a folder of their own below `place`, and nothing else in it."""
    folder = place / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_files(case, folder)
    yield folder


class Campaign:
    """Inputs for one target after the other."""

    def __init__(
        self,
        targets: Mapping[str, Callable[[], Target]],
        place: Path,
        found: Path,
        seed: int,
        most_cpu_seconds: float = _CPU_SECONDS,
    ) -> None:
        """Begin.

        Args:
            targets: Makers of targets by name.
            place: A folder to work in.
            found: Where inputs of faults are kept.
            seed: Draws the inputs.
            most_cpu_seconds: What an input may take; the first one of a target also takes its imports.
        """
        self._targets, self._place, self._found, self._seed = targets, place, found, seed
        self._most_cpu_seconds = most_cpu_seconds

    def feed(self, name: str, seconds: float, most: int | None = None) -> Tally:
        """Feed a target for so many seconds, or with so many inputs."""
        target, tally, begun = self._targets[name](), Tally(), time.monotonic()
        # Each target has its own inputs, whichever others are asked for.
        random = np.random.default_rng([self._seed, *name.encode()])
        pending: list[Case] = []
        while time.monotonic() < begun + seconds and (most is None or tally.inputs < most):
            case = target.make(random)
            self._try(name, target, case, tally)
            pending.append(case)
            if len(pending) == _TOGETHER:
                self._settle(name, target, pending, tally)
                pending = []
        self._settle(name, target, pending, tally)
        tally.seconds = time.monotonic() - begun
        return tally

    def _try(self, name: str, target: Target, case: Case, tally: Tally) -> None:
        try:
            with laid_out(case, self._place) as folder, bounded(self._most_cpu_seconds):
                tally.outcomes[target.read(case, folder)] += 1
        except _RAISED as error:
            self._fault(name, case, error, tally)

    def _settle(self, name: str, target: Target, pending: list[Case], tally: Tally) -> None:
        """Check what was read together; where that fails, find the input that fails alone."""
        try:
            target.settle()
            return
        except _RAISED as error:
            together = error
        for case in pending:
            alone = self._targets[name]()
            try:
                with laid_out(case, self._place) as folder:
                    alone.read(case, folder)
                    alone.settle()
            except _RAISED as error:
                if f"{type(error)}" == f"{type(together)}":
                    self._fault(name, case, error, tally)
                    return
        self._fault(name, pending[-1], together, tally)

    def _fault(self, name: str, case: Case, error: BaseException, tally: Tally) -> None:
        label = f"{type(error).__name__} at {_place_of(error)}: {str(error)[:160]!r}"
        kind = label.partition(": ")[0]
        seen = sum(count for other, count in tally.faults.items() if other.startswith(kind))
        tally.faults[label] += 1
        if seen >= _KEPT:
            return
        folder = self._found / name / case.name
        keep(case, folder)
        (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
        print(f"{folder}: {label}", file=sys.stderr, flush=True)


def _place_of(error: BaseException) -> str:
    """The innermost line of our own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
