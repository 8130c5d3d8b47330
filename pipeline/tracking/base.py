"""What a tracker is given and what it can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True)
class TrackedRun:
    """One run, as trackers know it.

    Keys and addresses of servers are each library's own affair: they come from its environment variables and files.

    Attributes:
        project: Project, or experiment.
        name: What people see.
        run_id: What a run that goes on is found by again; None for one that never does.
        folder: Where files go, for a tracker that writes them.
        job: `train` or `evaluate`.
        settings: Plain values to show beside the numbers.
    """

    project: str
    name: str
    run_id: str | None
    folder: Path
    job: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Tracker(Protocol):
    """An open run of a tracker."""

    def held(self, name: str) -> int:
        """The last step of which it holds a value of this name; -1 for none."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in values; steps never go down."""

    def close(self, *, failed: bool) -> None:
        """End the run."""


class TrackerSpec(NamedTuple):
    """How a tracker is reached.

    Attributes:
        module: What is imported of its library.
        open: Starts a run, or goes on with one; takes that module.
    """

    module: str
    open: Callable[[Any, TrackedRun], Tracker]
