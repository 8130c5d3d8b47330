"""TensorBoard: event files in a folder."""

from collections.abc import Mapping
from typing import Any, Final

from ..libraries import library
from .base import TrackedRun, Tracker, TrackerSpec


class _TensorBoard:
    def __init__(self, writer: Any, held: Mapping[str, int]) -> None:
        self._writer, self._held = writer, held

    def held(self, name: str) -> int:
        return self._held.get(name, -1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        # Else a page that is open would wait two minutes for it.
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        self._writer.close()


def _open(module: Any, run: TrackedRun) -> Tracker:
    held = {} if run.run_id is None else _last_steps(run)
    return _TensorBoard(module.SummaryWriter(log_dir=str(run.folder)), held)


def _last_steps(run: TrackedRun) -> dict[str, int]:
    """By name, the last step that the folder's files hold; one that a kill cut short is read up to there."""
    if not any(run.folder.glob("events.out.tfevents.*")):
        return {}
    reading = library("tensorboard.backend.event_processing.event_accumulator", "train.track")
    events = reading.EventAccumulator(str(run.folder), size_guidance={reading.SCALARS: 0})
    events.Reload()
    return {tag: max(point.step for point in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


SPEC: Final = TrackerSpec("torch.utils.tensorboard", _open)
