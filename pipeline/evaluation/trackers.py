"""Metrics and learning curves for TensorBoard and Weights & Biases, where they are installed and asked for."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ..errors import MissingDependencyError
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


def require_tensorboard() -> Any:
    """TensorBoard's writer.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    return _import("torch.utils.tensorboard", "--tensorboard", "tensorboard").SummaryWriter


def require_wandb() -> Any:
    """The library wandb.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return _import("wandb", "--wandb", "wandb")


def _import(module: str, option: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{option} needs {extra}, which is not installed. Install with: pip install 'thumbline[{extra}]'."
        ) from error


def write_tensorboard(outcome: Outcome, folder: Path) -> int:
    """Write event files to `folder`; returns how many scalars.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    logged = list(scalars(outcome))
    with require_tensorboard()(log_dir=str(folder)) as writer:
        for scalar in logged:
            writer.add_scalar(scalar.name, scalar.value, scalar.step)
    return len(logged)


def write_wandb(outcome: Outcome, project: str) -> int:
    """Log a run to the project; returns how many scalars. `WANDB_MODE=offline` keeps it on this machine.

    Raises:
        MissingDependencyError: wandb is not installed.
    """
    steps: dict[int, dict[str, float]] = {}
    for scalar in scalars(outcome):
        steps.setdefault(scalar.step, {})[scalar.name] = scalar.value
    config = {"reward": outcome.settings.reward, "beta": outcome.settings.beta, "subject": outcome.subject.name}
    with require_wandb().init(project=project, name=outcome.subject.name, job_type="evaluate", config=config) as run:
        for step, values in sorted(steps.items()):
            run.log(values, step=step)
    return sum(map(len, steps.values()))
