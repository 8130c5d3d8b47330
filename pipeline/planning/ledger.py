"""What lies in memory at each moment of a step: bytes by what they are for, and the peak of each phase."""

import weakref
from collections import Counter
from typing import Any, NamedTuple


class _Held(NamedTuple):
    kind: str
    size: int
    watch: Any


class Ledger:
    """Storages that live, in bytes.

    Attributes:
        kind: What storages that come now are for.
        phase: The part of a step that runs now.
        peaks: For each phase, bytes by kind at the moment when most was held in it.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.kind = "weights"
        self.phase = "loading"
        self.peaks: dict[str, Counter[str]] = {}
        self._held: dict[int, _Held] = {}
        self._live: Counter[str] = Counter()

    def hold(self, storage: Any, kind: str | None = None) -> None:
        """Count a storage until it is freed; one that is counted already changes nothing.

        Args:
            storage: torch's.
            kind: What it is for, where that is not `self.kind`.
        """
        key = id(storage)
        if key in self._held:
            return
        held = _Held(kind or self.kind, storage.nbytes(), weakref.ref(storage, lambda _: self._free(key)))
        self._held[key] = held
        self._live[held.kind] += held.size
        if self._live.total() > self.peaks.setdefault(self.phase, Counter()).total():
            self.peaks[self.phase] = self._live.copy()

    def kind_of(self, storage: Any) -> str | None:
        """What a storage is counted as; None where it is not."""
        held = self._held.get(id(storage))
        return None if held is None else held.kind

    def rename(self, storage: Any, kind: str) -> None:
        """Count a storage as something else from now on."""
        held = self._held[id(storage)]
        self._live[held.kind] -= held.size
        self._live[kind] += held.size
        self._held[id(storage)] = held._replace(kind=kind)

    def _free(self, key: int) -> None:
        held = self._held.pop(key)
        self._live[held.kind] -= held.size
