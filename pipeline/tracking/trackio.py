"""Trackio: a local database, or a server or Space that its own environment variables name."""

from collections.abc import Mapping
from typing import Any, Final

from .base import TrackedRun, Tracker, TrackerSpec


class _Trackio:
    def __init__(self, run: Any) -> None:
        self._run = run
        # It has no public name for the step that a run goes on with.
        self._first = int(getattr(run, "_next_step", 0))

    def held(self, name: str) -> int:
        return self._first - 1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish()


def _open(module: Any, run: TrackedRun) -> Tracker:
    # Runs are found by their name alone.
    name = run.run_id or run.name
    return _Trackio(
        module.init(
            project=run.project,
            name=name,
            config=dict(run.settings),
            resume="never" if run.run_id is None else "allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
    )


SPEC: Final = TrackerSpec("trackio", _open)
