"""Weights & Biases. `WANDB_MODE=offline` keeps a run on this machine, each start of it in a folder of its own."""

from collections.abc import Mapping
from typing import Any, Final

from .base import TrackedRun, Tracker, TrackerSpec


class _Wandb:
    def __init__(self, run: Any) -> None:
        self._run = run
        # What a run that goes on would log next; offline it is not known what another folder holds, and it is 0.
        self._first = int(run.step)

    def held(self, name: str) -> int:
        return self._first - 1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _open(module: Any, run: TrackedRun) -> Tracker:
    return _Wandb(
        module.init(
            project=run.project,
            name=run.name,
            id=run.run_id,
            resume=None if run.run_id is None else "allow",
            job_type=run.job,
            config=dict(run.settings),
        )
    )


SPEC: Final = TrackerSpec("wandb", _open)
