"""Which step of a training is best and when it should end: functions of its log alone, so that they need no state."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..config.keeping import HeldOutFigure, KeepingConfig
from ..errors import TrainingError
from .checkpoints import LogRow

# By what factor a figure is larger where it is better.
_SIGNS: Final[dict[HeldOutFigure, float]] = {
    "loss": -1.0,
    "accuracy": 1.0,
    "reward_margin": 1.0,
    "penalised_reward": 1.0,
}


class Standing(NamedTuple):
    """Where a training stands after some validation points.

    Attributes:
        best_step: The optimiser step after which the figure was best, the earlier where two are; None before any point.
        best_value: The figure there.
        counted_value: The figure that the next counted improvement is measured from.
        points_since: Validation points since the last counted improvement.
    """

    best_step: int | None = None
    best_value: float = math.nan
    counted_value: float = math.nan
    points_since: int = 0

    def after(self, step: int, value: float, config: KeepingConfig) -> "Standing":
        """Where it stands after one more validation point."""
        sign = _SIGNS[config.best_by]
        if self.best_step is None:
            return Standing(step, value, value, 0)
        best = (step, value) if sign * value > sign * self.best_value else (self.best_step, self.best_value)
        if sign * (value - self.counted_value) > config.min_delta:
            return Standing(*best, value, 0)
        return Standing(*best, self.counted_value, self.points_since + 1)

    def is_over(self, config: KeepingConfig) -> bool:
        """Whether training ends here, before its last step."""
        return config.patience is not None and self.points_since >= config.patience


def standing_of(log: Iterable[LogRow], config: KeepingConfig, before: Standing | None = None) -> Standing:
    """Where a training with this log stands, the same whether or not it was interrupted.

    Args:
        log: Rows in the order of their steps.
        config: The figure, and what counts as an improvement.
        before: Where it stood before these rows; None where they are all.
    """
    standing = before or Standing()
    for row in log:
        if row.phase == "validation" and row.metric == config.best_by:
            standing = standing.after(row.step, row.value, config)
    return standing


def check_judged(log: Sequence[LogRow], config: KeepingConfig) -> None:
    """Refuse before the first step what could not be judged after it.

    Raises:
        TrainingError: The best step, or patience, is asked for and no validation row gives the figure.
    """
    if config.keep == "last" and config.patience is None:
        return
    figures = {row.metric for row in log if row.phase == "validation"}
    if config.best_by not in figures:
        found = f"they give {', '.join(sorted(figures))}" if figures else "the validation split holds none"
        raise TrainingError(
            f"train: keep: {config.keep} with patience {config.patience} is judged by the {config.best_by} of "
            f"validation rows, and {found}. Set train.best_by to what they give, enlarge splits.validation, or set "
            f"keep: last without patience."
        )


class Ending(NamedTuple):
    """How a training ended.

    Attributes:
        step: Its last optimiser step.
        kept_step: The step whose weights are the trained model's; 0 for the untrained ones.
        why: Why it ended, as words.
        kept: Which weights were taken, as words.
    """

    step: int
    kept_step: int
    why: str
    kept: str


def ending_of(log: Sequence[LogRow], config: KeepingConfig, total: int) -> Ending:
    """How a training ended, from its whole log.

    Args:
        log: All of it.
        config: What is kept, and patience.
        total: Optimiser steps that were planned.
    """
    last = max((row.step for row in log), default=0)
    standing, figure = standing_of(log, config), config.best_by.replace("_", " ")
    why = f"all {total} steps were taken"
    if last < total:
        why = (
            f"step {last} of {total}: {standing.points_since} validation points in a row did not improve the {figure} "
            f"of {standing.counted_value:.4g}"
        )
    if config.keep == "last" or standing.best_step is None:
        return Ending(last, last, why, f"the last step, {last}")
    best = f"step {standing.best_step}" if standing.best_step else "no step: the untrained weights"
    kept = f"{best}, the best of the validation points by {figure} ({standing.best_value:.4g})"
    return Ending(last, standing.best_step, why, kept)
