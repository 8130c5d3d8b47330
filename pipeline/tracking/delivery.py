"""Values to a tracker from a thread of its own: neither a slow network nor a broken one reaches who measured them."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from .base import Tracker

# How long the end of a run waits for a tracker, in seconds.
_PATIENCE: Final = 60.0


class _Point(NamedTuple):
    step: int
    values: Mapping[str, float]


class Delivery:
    """Sends steps to one tracker in their order, each once.

    A step that cannot be delivered waits and is tried again with the next one. What the tracker holds already, from a
    process that was killed, is not sent again.
    """

    def __init__(self, name: str, tracker: Tracker, say: Callable[[str], None], *, patience: float = _PATIENCE) -> None:
        """Start the thread.

        Args:
            name: The tracker's name.
            tracker: An open run.
            say: Told of the first failure, and at the end of what was never delivered.
            patience: Seconds that `close` waits at most.
        """
        self._name, self._tracker, self._say, self._patience = name, tracker, say, patience
        self._sent: SimpleQueue[_Point | None] = SimpleQueue()
        self._waiting: deque[_Point] = deque()
        self._failed_before = self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"track-{name}", daemon=True)
        self._thread.start()

    def send(self, step: int, values: Mapping[str, float]) -> None:
        """Hand over a step's values; returns at once."""
        self._sent.put(_Point(step, dict(values)))

    def close(self, *, failed: bool = False) -> None:
        """Deliver what is left and end the tracker's run, within the patience.

        Args:
            failed: Whether the run ended by an error.
        """
        self._failed = failed
        self._sent.put(None)
        self._thread.join(self._patience)
        missed = len(self._waiting) + sum(point is not None for point in self._left())
        if missed or self._thread.is_alive():
            self._say(f"{self._name} did not take the last {missed} steps; they are in table training_log.")

    def _left(self) -> list[_Point | None]:
        left: list[_Point | None] = []
        while True:
            try:
                left.append(self._sent.get_nowait())
            except Empty:
                return left

    def _work(self) -> None:
        while (point := self._sent.get()) is not None:
            self._waiting.append(point)
            self._deliver()
        self._deliver()
        self._guarded(lambda: self._tracker.close(failed=self._failed))

    def _deliver(self) -> None:
        while self._waiting and self._guarded(lambda: self._log(self._waiting[0])):
            self._waiting.popleft()

    def _log(self, point: _Point) -> None:
        new = {name: value for name, value in point.values.items() if point.step > self._tracker.held(name)}
        if new:
            self._tracker.log(point.step, new)

    def _guarded(self, act: Callable[[], None]) -> bool:
        """Whether it went well; the first time that it does not, that is said."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  a tracker may fail in any way; training goes on
            if not self._failed_before:
                reason = str(error).partition("\n")[0]
                self._say(f"{self._name} failed ({type(error).__name__}: {reason}); training goes on, and tries again.")
            self._failed_before = True
            return False
        return True
