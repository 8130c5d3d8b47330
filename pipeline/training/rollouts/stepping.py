"""A step on rollouts: prompts are answered with the weights of the step, and several updates are taken from that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from ...config import TrainConfig
from ..goal import Goal
from ..parallel.team import Team
from ..policy import Policy
from ..rows import PromptRow, RolloutRow, Row
from ..step import take_step
from .answers import Writer, experience_of, measures_of, rollouts_of
from .objective import RolloutObjective

# What is added up over the updates of a step; all else that is logged of them is a mean.
_ADDED: Final = ("tokens", "computed_tokens")
_VALIDATION: Final = "validation"


@dataclass(frozen=True)
class RolloutStepping:
    """What the loop does with a step's prompts.

    Attributes:
        objective: What the updates are trained towards.
        writer: Who writes and scores answers.
    """

    objective: RolloutObjective
    writer: Writer

    def take(
        self,
        policy: Policy,
        objective: Goal,
        optimizer: torch.optim.Optimizer,
        rows: Sequence[Row],
        config: TrainConfig,
        team: Team,
        number: int,
    ) -> dict[str, float]:
        """Sample, score, give credit, update; returns means over the answers and over the updates.

        Raises:
            TrainingError: A loss or the gradient is not finite; the message names rows.
            EngineError: The policy cannot be sampled from, or a score is not finite.
        """
        settings = config.rollouts
        policy.meter.take()
        answers = self.writer.answers(_prompts(rows), settings.samples, str(number))
        rollouts = rollouts_of(policy, self.objective, self.writer.reference, answers, settings.samples)
        experience = experience_of(rollouts, answers, self.objective)
        passed = sum(policy.meter.take())
        means = _mean_over_updates(
            [
                (len(part), take_step(policy, objective, optimizer, part, config, team))
                for part in minibatches(experience.rows, config, number)
            ]
        )
        means["computed_tokens"] += passed
        return experience.means | means | {"sampled_tokens": float(_answer_tokens(experience.rows))}

    def measure(
        self, policy: Policy, objective: Goal, rows: Sequence[Row], config: TrainConfig, team: Team
    ) -> dict[str, float]:
        """One answer to each prompt, drawn by the same numbers each time; what is logged of them.

        Raises:
            EngineError: The policy cannot be sampled from, or a score is not finite.
        """
        answers = self.writer.answers(_prompts(rows), 1, _VALIDATION)
        rollouts = rollouts_of(policy, self.objective, self.writer.reference, answers, 1)
        policy.meter.take()
        return measures_of(rollouts, answers, self.objective)


def minibatches(rows: Sequence[RolloutRow], config: TrainConfig, number: int) -> Iterator[list[RolloutRow]]:
    """The answers of each update: whole prompts in an order that step and pass decide, cut into even shares.

    Args:
        rows: Answers of a step, those of a prompt behind each other.
        config: Answers a prompt, passes, updates a pass, and the seed.
        number: The step's.
    """
    settings = config.rollouts
    prompts = np.arange(len(rows)).reshape(-1, settings.samples)
    for done in range(settings.epochs):
        order = np.random.default_rng([config.seed, number, done]).permutation(prompts).ravel()
        for part in np.array_split(order, min(settings.minibatches, len(order))):
            yield [rows[index] for index in part]


def _mean_over_updates(updates: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Means weighed by the answers of each update; token counts are added up."""
    answers = sum(count for count, _ in updates)
    names = updates[0][1]
    means = {name: sum(count * found[name] for count, found in updates) / answers for name in names}
    return (
        means | {name: sum(found[name] for _, found in updates) for name in _ADDED} | {"updates": float(len(updates))}
    )


def _prompts(rows: Sequence[Row]) -> list[PromptRow]:
    return [row for row in rows if isinstance(row, PromptRow)]


def _answer_tokens(rows: Sequence[RolloutRow]) -> int:
    return sum(len(row.matched.completion_token_ids) for row in rows)
