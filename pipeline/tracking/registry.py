"""The trackers by name, which is also the extra that installs each."""

from collections.abc import Mapping
from typing import Any, Final

from ..errors import ConfigError
from ..libraries import library
from . import mlflow, tensorboard, trackio, wandb
from .base import TrackedRun, Tracker, TrackerSpec

TRACKERS: Final[Mapping[str, TrackerSpec]] = {
    "tensorboard": tensorboard.SPEC,
    "wandb": wandb.SPEC,
    "trackio": trackio.SPEC,
    "mlflow": mlflow.SPEC,
}


def require_tracker(name: str, asked_by: str) -> Any:
    """What is imported of a tracker's library.

    Args:
        name: A name of `TRACKERS`.
        asked_by: The setting or option that asks for it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return library(TRACKERS[name].module, asked_by, name)


def open_tracker(name: str, run: TrackedRun, asked_by: str) -> Tracker:
    """Start a run in a tracker, or go on with the one of the same id.

    Args:
        name: A name of `TRACKERS`.
        run: What it is told of the run.
        asked_by: The setting or option that asks for it.

    Raises:
        MissingDependencyError: The library is not installed.
        ConfigError: It cannot start: no login, no server, no place to write to.
    """
    module = require_tracker(name, asked_by)
    try:
        return TRACKERS[name].open(module, run)
    # Each tracker has errors of its own, and some raise what their servers' libraries raise.
    except Exception as error:
        raise ConfigError(
            f"{asked_by}: {name} cannot start a run ({str(error).partition(chr(10))[0]}). See its own settings of "
            f"login and server, or leave it out: the numbers are in the tables anyway."
        ) from error
