"""One optimiser step: its rows in parts that fit in memory, the gradient of their mean loss, and the update."""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import torch

from ..config import TrainConfig
from .culprits import gradient_error
from .goal import Goal
from .measured import Tally
from .parallel.dealing import deal
from .parallel.team import ALONE, Team
from .parallel.wrapping import exchanging, whole
from .policy import Policy
from .rows import Row


class Stepping(Protocol):
    """What a step of the loop does with its rows, and what is measured of rows that are held out."""

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
        """Update the weights; returns what is logged of the step, `tokens` among it.

        Args:
            policy: The model.
            objective: What is trained towards.
            optimizer: It holds the step's learning rate already.
            rows: All rows of the step, in every process.
            config: How a step is cut.
            team: The processes that share the step's rows.
            number: The step's, from 0 over the whole run: what is drawn hangs on it and on the rows alone.

        Raises:
            TrainingError: A loss or the gradient is not finite; the message names rows.
        """

    def measure(
        self, policy: Policy, objective: Goal, rows: Sequence[Row], config: TrainConfig, team: Team
    ) -> dict[str, float]:
        """What is logged of held-out rows, the weights left as they are.

        Raises:
            TrainingError: A loss is not finite; the message names rows.
        """


def take_step(
    policy: Policy,
    objective: Goal,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[Row],
    config: TrainConfig,
    team: Team = ALONE,
) -> dict[str, float]:
    """Update the weights once; returns means over the step's rows of what is logged.

    Args:
        policy: The model.
        objective: What is trained towards.
        optimizer: It holds the step's learning rate already.
        rows: All rows of the step, in every process.
        config: Rows a forward pass and the gradient's largest norm.
        team: The processes that share the step's rows; each calls this, and gets the same.

    Raises:
        TrainingError: A loss or the gradient is not finite; the message names rows.
    """
    policy.meter.take()
    turns = deal(objective.parts(policy, rows), team.rank, team.size)
    statistic = objective.step_statistic(policy, rows, team)
    tally = Tally()
    for number, turn in enumerate(turns):
        with exchanging(policy.scorer, last=number + 1 == len(turns)):
            measured = objective.measure(policy, turn.rows, statistic)
            # Processes exchange the mean of their gradients; a stand-in takes part in that with nothing.
            share = team.size if turn.counts else 0
            torch.autograd.backward(measured.losses.sum() / len(rows) * share)
        if turn.counts:
            tally.add(measured)
    tally = _of_all(tally, team)
    tally.refuse_infinite(objective.section)
    norm = float(whole(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), config.max_grad_norm)))
    if not math.isfinite(norm):
        raise gradient_error(policy, objective, rows, statistic)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(sequence.length for row in rows for sequence in row.sequences)
    computed = sum(policy.meter.take())
    computed = sum(team.gather(computed)) if team.is_several else computed
    return tally.means() | {"grad_norm": norm, "tokens": float(tokens), "computed_tokens": float(computed)}


@torch.no_grad()
def measure_rows(
    policy: Policy, objective: Goal, rows: Sequence[Row], config: TrainConfig, team: Team = ALONE
) -> dict[str, float]:
    """Means over rows of what is logged of a step, the weights left as they are.

    Args:
        policy: The model.
        objective: What is trained towards.
        rows: Any number, in every process.
        config: Rows a forward pass.
        team: The processes that share the rows; each calls this, and gets the same.

    Raises:
        TrainingError: A loss is not finite; the message names rows.
    """
    statistic = objective.step_statistic(policy, rows, team)
    tally = Tally()
    for turn in deal(objective.parts(policy, rows), team.rank, team.size):
        measured = objective.measure(policy, turn.rows, statistic)
        if turn.counts:
            tally.add(measured)
    tally = _of_all(tally, team)
    tally.refuse_infinite(objective.section)
    return tally.means()


class _OnRows:
    """One update from rows that are there already."""

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
        return take_step(policy, objective, optimizer, rows, config, team)

    def measure(
        self, policy: Policy, objective: Goal, rows: Sequence[Row], config: TrainConfig, team: Team
    ) -> dict[str, float]:
        return measure_rows(policy, objective, rows, config, team)


ON_ROWS: Final[Stepping] = _OnRows()


def _of_all(tally: Tally, team: Team) -> Tally:
    """What all processes counted, added up in one order."""
    if not team.is_several:
        return tally
    added = Tally()
    for part in team.gather(tally):
        added.merge(part)
    return added
