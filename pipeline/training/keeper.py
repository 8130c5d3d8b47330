"""What is kept on disk while a model trains: checkpoints to go on from, and the best weights so far."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..config.keeping import KeepingConfig
from ..storage.attached import bring_begun, keep_begun
from .best import drop_best, load_best, save_best
from .checkpoints import LogRow, Place, checkpoint_steps, keep, put_weights, take_up, trained_weights
from .keeping import Standing, standing_of
from .parallel.team import Team
from .parallel.wrapping import whole_weights
from .policy import Policy


class Keeper:
    """Writes and reads the checkpoints of one training, and judges its validation points.

    Each process of a team has one and calls all of it alike.
    """

    def __init__(
        self, folder: Path, config: KeepingConfig, policy: Policy, team: Team, clock: Callable[[], float]
    ) -> None:
        """Start without a validation point.

        Args:
            folder: Where everything goes.
            config: What is kept, how often, and when training ends.
            policy: The model in training.
            team: The processes that train it.
            clock: Seconds that pass; the first process's count.
        """
        self._folder, self._config, self._policy, self._team, self._clock = folder, config, policy, team, clock
        self._standing = Standing()
        self._kept_at = clock()
        # Steps whose weights a training may have to take that goes on from a checkpoint on disk.
        self._needed: set[int] = set()

    @property
    def is_over(self) -> bool:
        """Whether patience ends the training here."""
        return self._standing.is_over(self._config)

    def resume(self, optimizer: torch.optim.Optimizer, say: Callable[[str], None]) -> Place | None:
        """Put the newest whole checkpoint into model and optimiser; None where there is none.

        Args:
            optimizer: A new one.
            say: Told of a damaged checkpoint.
        """
        if self._team.is_first:
            self._bring(say)
        self._team.wait()
        place = take_up(self._folder, self._policy, optimizer, team=self._team, say=say, best_step=self._best_step)
        if place is not None:
            self._standing = standing_of(place.log, self._config)
            self._needed = self._best_of_checkpoints(place.log)
        return place

    def judge(self, rows: Sequence[LogRow]) -> None:
        """Take in what a step logged; where it holds the best validation point so far, keep the weights."""
        before, self._standing = self._standing, standing_of(rows, self._config, self._standing)
        if self._config.choose == "frontier":
            # Nothing says yet which of them is kept.
            steps = {row.step for row in rows if row.phase == "validation" and row.step > 0}
            for point in sorted(steps):
                self._save(point)
            return
        step = self._standing.best_step
        if self._config.keep == "last" or step is None or step == before.best_step:
            return
        self._save(step)
        if self._team.is_first:
            drop_best(self._folder, but=self._needed | {step})
        self._team.wait()

    def _save(self, step: int) -> None:
        weights = whole_weights(trained_weights(self._policy.model), self._team)
        if self._team.is_first:
            save_best(self._folder, step, weights)
        self._team.wait()

    def keep_when_due(self, optimizer: torch.optim.Optimizer, place: Place) -> None:
        """Write a checkpoint where the step's number or the time says so."""
        waited = self._clock() - self._kept_at
        due = place.step % self._config.checkpoint_every == 0 or waited >= 60 * self._config.checkpoint_minutes
        if not self._team.from_first(due):
            return
        newest = self._config.keep_checkpoints
        keep(self._folder, self._policy, optimizer, place, newest=newest, team=self._team)
        self._needed = self._best_of_checkpoints(place.log)
        if self._team.is_first:
            if self._config.choose != "frontier":
                drop_best(self._folder, but=self._needed)
            keep_begun(self._folder, place.step)
        self._kept_at = self._clock()

    def take_best(self) -> None:
        """Put the best weights into the model, where those are what is kept."""
        best = self._standing.best_step
        if self._config.keep == "best" and best is not None:
            put_weights(self._policy.model, load_best(self._folder, best))

    def _bring(self, say: Callable[[str], None]) -> None:
        """Fetch the checkpoint of another machine that worked on a run at an address, where it is further."""
        step = bring_begun(self._folder, max(checkpoint_steps(self._folder), default=-1))
        if step is not None:
            say(f"training goes on from the checkpoint of step {step} that another machine published.")

    def _best_of_checkpoints(self, log: Sequence[LogRow]) -> set[int]:
        steps = checkpoint_steps(self._folder)
        found = (self._best_step([row for row in log if row.step <= step]) for step in steps)
        return {best for best in found if best is not None}

    def _best_step(self, log: Sequence[LogRow]) -> int | None:
        return standing_of(log, self._config).best_step if self._config.keep == "best" else None


def what_is_left(folder: Path) -> str:
    """What a training that stopped has to go on from, and how, for the end of an error message."""
    steps = checkpoint_steps(folder)
    if not steps:
        return "No checkpoint was kept yet; a new run begins at the first step."
    return (
        f"The last good weights, of step {steps[0]}, lie in {folder}: a run with the same settings goes on from them, "
        f"and one with other settings or rows begins anew and deletes them."
    )
