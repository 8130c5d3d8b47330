"""Metrics and learning curves for the trackers that are asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ..tracking import TrackedRun, open_tracker
from .outcome import Outcome


class Scalar(NamedTuple):
    """One value at one step."""

    name: str
    value: float
    step: int


def scalars(outcome: Outcome) -> Iterator[Scalar]:
    """Curves of training, and every metric of the evaluation at the step after the last.

    Names: `train/loss`, `validation/loss`; `evaluation/MODEL/EVALUATOR.METRIC`, with `/against OTHER` for a
    comparison, `/SLICE` for a slice, and `/low` and `/high` for the ends of an interval.
    """
    log = outcome.subject.tables.get("training_log")
    last = 0
    if log is not None and not log.is_empty():
        for row in log.sort("step", "phase", "metric").iter_rows(named=True):
            yield Scalar(f"{row['phase']}/{row['metric']}", row["value"], row["step"])
        last = int(log["step"].max())  # type: ignore[arg-type]  # of Int64 and not empty
    for row in outcome.metrics.filter(pl.col("value").is_not_null()).iter_rows(named=True):
        name = f"evaluation/{row['model']}/{row['evaluator']}.{row['metric']}"
        name += "" if row["compared_with"] is None else f"/against {row['compared_with']}"
        name += "" if row["slice"] is None else f"/{row['slice']}"
        for end, column in (("", "value"), ("/low", "ci_low"), ("/high", "ci_high")):
            if row[column] is not None:
                yield Scalar(f"{name}{end}", row[column], last)


def log_outcome(outcome: Outcome, tracker: str, place: str) -> int:
    """Log to a tracker; returns how many scalars.

    Args:
        outcome: The evaluation.
        tracker: A name of `TRACKERS`.
        place: The project or experiment; for TensorBoard the folder.

    Raises:
        MissingDependencyError: The tracker is not installed.
        ConfigError: It cannot start.
    """
    settings = {"reward": outcome.settings.reward, "beta": outcome.settings.beta, "subject": outcome.subject.name}
    run = TrackedRun(place, outcome.subject.name, None, Path(place), "evaluate", settings)
    steps: dict[int, dict[str, float]] = {}
    for scalar in scalars(outcome):
        steps.setdefault(scalar.step, {})[scalar.name] = scalar.value
    opened = open_tracker(tracker, run, f"--{tracker}")
    failed = True
    try:
        for step, values in sorted(steps.items()):
            opened.log(step, values)
        failed = False
    finally:
        opened.close(failed=failed)
    return sum(map(len, steps.values()))
