"""The optimiser loop: a plain one, since every step must be repeatable to the byte after an interruption."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ..config import TrainConfig
from ..context import Advance
from ..errors import TrainingError
from .batches import Order, order_of, rows_in_steps, total_steps
from .checkpoints import LogRow, Place
from .goal import Goal
from .keeper import Keeper, what_is_left
from .keeping import check_judged
from .optimizers import make_optimizer, set_rate
from .parallel.team import ALONE, Team
from .policy import Policy
from .rows import Row
from .step import ON_ROWS, Stepping
from .syncing import FollowingReference
from .watching import UNWATCHED, Watch


@dataclass(frozen=True)
class Trainer:
    """One training run.

    Attributes:
        policy: The model, which its rows' reference log-probs are of before the first step.
        objective: What it is trained towards.
        config: Steps, rates and seeds.
        rows: Training rows, in an order that is a function of the data alone.
        validation: Rows of the validation split that are measured on the way.
        folder: Where checkpoints go.
        clock: Seconds that pass; they decide when a checkpoint is kept, and nothing else.
        team: The processes that train together; each has a trainer of its own.
        watch: Who is told of each step, in the first process.
        stepping: What a step does with its rows.
    """

    policy: Policy
    objective: Goal
    config: TrainConfig
    rows: Sequence[Row]
    validation: Sequence[Row]
    folder: Path
    clock: Callable[[], float] = time.monotonic
    team: Team = ALONE
    watch: Watch = UNWATCHED
    stepping: Stepping = ON_ROWS

    def total_steps(self) -> int:
        """Optimiser steps of the whole run, at least one."""
        config = self.config
        return total_steps(len(self.rows), config.batch_rows, config.epochs, config.max_steps)

    def run(self, advance: Advance) -> list[LogRow]:
        """Train from the start, or from the folder's checkpoint, to the end; returns the whole log.

        The policy then has the weights of the last step, or of the best one where those are kept.

        Args:
            advance: Called with the number of steps just done.

        Raises:
            TrainingError: A loss or gradient is not finite, or nothing held out can say which step is best.
        """
        optimizer, total = make_optimizer(self.policy, self.config), self.total_steps()
        keeper = Keeper(self.folder, self.config, self.policy, self.team, self.clock)
        first, log = self._start(keeper, optimizer)
        advance(first)
        self.watch.begins(first, total, log)
        for step in range(first, total):
            if keeper.is_over:
                break
            rows = self._step(optimizer, step, total, log)
            if (step + 1) % self.config.validate_every == 0 or step + 1 == total:
                rows += self._validate(step + 1, log + rows)
            log += rows
            keeper.judge(rows)
            if step + 1 < total and self._may_stop_before(step + 1):
                keeper.keep_when_due(optimizer, Place(step + 1, log))
            self.watch.took(step + 1, rows)
            advance(1)
        keeper.take_best()
        return log

    @cached_property
    def _order(self) -> Order:
        return order_of(self.rows, self.config.batch_rows, self.config.seed, self.config.stratify)

    @cached_property
    def _following(self) -> FollowingReference | None:
        every = self.config.reference_steps
        if every is None:
            return None
        return FollowingReference(self.policy, self.objective, self._rows_of, every, self.total_steps())

    def _may_stop_before(self, step: int) -> bool:
        return self._following is None or self._following.begins(step)

    def _rows_of(self, step: int) -> list[Row]:
        return [self.rows[int(index)] for index in self._order.of_step(step)]

    def _start(self, keeper: Keeper, optimizer: torch.optim.Optimizer) -> Place:
        """Where the folder's checkpoint stands, or the beginning."""
        place = keeper.resume(optimizer, self.watch.say)
        if place is not None:
            return place
        log = [self._before_training(row) for row in self._validate(0, [])]
        check_judged(log, self.config)
        keeper.judge(log)
        return Place(0, log)

    def _before_training(self, row: LogRow) -> LogRow:
        """Against a reference, which the untrained policy is, all rows tie: whichever side rounding puts them on."""
        ties = row.metric == "accuracy" and self.objective.ties_untrained
        return row._replace(value=0.5) if ties else row

    def _step(self, optimizer: torch.optim.Optimizer, step: int, total: int, log: list[LogRow]) -> list[LogRow]:
        rate = learning_rate(step, total, self.config)
        set_rate(optimizer, rate)
        rows = self._rows_of(step) if self._following is None else self._following.rows(step)
        objective = self._objective_after(step, log)
        try:
            with self.watch.timed():
                means = self.stepping.take(self.policy, objective, optimizer, rows, self.config, self.team, step)
        except TrainingError as error:
            raise TrainingError(f"step {step + 1} of {total}: {error} {what_is_left(self.folder)}") from error
        means["learning_rate"] = rate
        return [LogRow(step + 1, "train", name, value) for name, value in sorted(means.items())]

    def _objective_after(self, steps: int, log: list[LogRow]) -> Goal:
        return self.objective.after(log, rows_in_steps(steps, len(self.rows), self.config.batch_rows))

    def _validate(self, step: int, log: list[LogRow]) -> list[LogRow]:
        if not self.validation:
            return []
        objective = self._objective_after(step, log).held_out()
        means = self.stepping.measure(self.policy, objective, self.validation, self.config, self.team)
        return [LogRow(step, "validation", name, value) for name, value in sorted(means.items())]


def learning_rate(step: int, total: int, config: TrainConfig) -> float:
    """The learning rate of optimiser step `step`, counted from 0: a linear warm-up, then the schedule.

    Args:
        step: Step about to be taken.
        total: Steps of the whole run.
        config: Peak, warm-up share and schedule.
    """
    warmup = math.ceil(config.warmup_fraction * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    factors: dict[str, float] = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
    return config.learning_rate * factors[config.schedule]
