"""From settings to who looks on: trackers opened before the first step and closed after the last, or at an error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..config import RunConfig
from ..config.keeping import TrackingConfig
from ..context import Reporter
from ..hiding import without_secrets
from ..storage.digests import digest_text
from ..tracking import Delivery, TrackedRun, open_tracker
from .policy import Policy
from .speed import SpeedMeter
from .watching import Onlooker

_ASKED_BY: Final = "train.track"
# What W&B and Trackio refuse in an id, what MLflow's queries are written with, and what no folder needs.
_NO_ID: Final = re.compile(r"[^\w.\-]+", re.ASCII)
_ID_CHARACTERS: Final = 60


@contextmanager
def looked_on(config: RunConfig, policy: Policy, reporter: Reporter, fingerprint: str) -> Iterator[Onlooker]:
    """Who looks on while a model trains.

    Args:
        config: The run; its trackers' run goes on where one of the same fingerprint was begun.
        policy: The model in training.
        reporter: Where lines go.
        fingerprint: Of the stage.

    Raises:
        MissingDependencyError: A tracker is not installed.
        ConfigError: A tracker cannot start.
    """
    runs = {name: tracked_run(config, name, fingerprint) for name in config.train.track}
    deliveries = [Delivery(name, open_tracker(name, run, _ASKED_BY), reporter.say) for name, run in runs.items()]
    failed = True
    try:
        yield Onlooker(reporter, deliveries, SpeedMeter(policy, config.train.peak_tflops))
        failed = False
    finally:
        for delivery in deliveries:
            delivery.close(failed=failed)


def tracked_run(config: RunConfig, tracker: str, fingerprint: str) -> TrackedRun:
    """What a tracker is told of a training."""
    train = config.train
    run_id = f"{_plain_name(config.name)}-{fingerprint[:8]}"
    settings = train.model_dump(mode="json", exclude=set(TrackingConfig.model_fields))
    return TrackedRun(
        project=train.track_project,
        name=train.track_run or config.name,
        run_id=run_id,
        folder=Path(config.run_dir) / tracker / run_id,
        job="train",
        settings=without_secrets({"model": config.model, **settings}),
    )


def _plain_name(name: str) -> str:
    """The run's name where every tracker takes it for an id and a folder, else what is left of it and a digest."""
    plain = _NO_ID.sub("-", name)
    return name if plain == name else f"{plain[:_ID_CHARACTERS]}-{digest_text(name)[:8]}"
