"""Scored rows as arrays: one set a model, rows sorted by id, groups numbered by id, so that no order matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluators.types import EvaluationSettings, FloatArray

IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Groups:
    """Which prompt group each row is of.

    Attributes:
        number: (rows,) group of each row, counted from 0 in the order of group ids.
        count: How many groups there are among all rows of the table.
    """

    number: IntArray
    count: int

    def sums(self, values: FloatArray) -> FloatArray:
        """(groups,) sums of row values."""
        return np.asarray(np.bincount(self.number, weights=values, minlength=self.count), dtype=np.float64)

    def present(self, rows: BoolArray | None = None) -> int:
        """How many groups the rows, or some of them, are of."""
        # Counting is a tenth of the time of sorting out the unique numbers.
        return int(np.count_nonzero(np.bincount(self.number if rows is None else self.number[rows])))


@dataclass(frozen=True)
class PairScores:
    """Held-out pairs under one model; every array is (pairs,).

    Attributes:
        model: The model's name.
        groups: Prompt groups.
        chosen_rewards: Rewards, as the settings define them.
        rejected_rewards: Rewards.
        chosen_logps: Policy log-probs, nats, summed.
        rejected_logps: Policy log-probs, nats, summed.
        reference_chosen_logps: Nats, summed; None where there is no reference.
        reference_rejected_logps: Nats, summed; None where there is no reference.
        chosen_token_counts: Completion tokens.
        rejected_token_counts: Completion tokens.
        slices: Rows of each slice, by `column=value`.
        tie_tolerance: A margin no larger than this is a tie.
    """

    model: str
    groups: Groups
    chosen_rewards: FloatArray
    rejected_rewards: FloatArray
    chosen_logps: FloatArray
    rejected_logps: FloatArray
    reference_chosen_logps: FloatArray | None
    reference_rejected_logps: FloatArray | None
    chosen_token_counts: FloatArray
    rejected_token_counts: FloatArray
    slices: dict[str, BoolArray]
    tie_tolerance: float = 0.0

    @property
    def margins(self) -> FloatArray:
        """Reward of chosen minus reward of rejected."""
        return self.chosen_rewards - self.rejected_rewards

    @property
    def wins(self) -> FloatArray:
        """1 where chosen has the higher reward, 1/2 at a tie, else 0."""
        return win_shares(self.margins, self.tie_tolerance)


@dataclass(frozen=True)
class UnpairedScores:
    """Held-out unpaired rows under one model; every array is (rows,).

    Attributes:
        model: The model's name.
        groups: Prompt groups.
        labels: True for desirable.
        rewards: Rewards, as the settings define them.
        logps: Policy log-probs, nats, summed.
        reference_logps: Nats, summed; None where there is no reference.
        token_counts: Completion tokens.
    """

    model: str
    groups: Groups
    labels: BoolArray
    rewards: FloatArray
    logps: FloatArray
    reference_logps: FloatArray | None
    token_counts: FloatArray


def win_shares(differences: FloatArray, tie_tolerance: float = 0.0) -> FloatArray:
    """1 for a positive difference, 1/2 for one within the tolerance of 0, else 0."""
    return np.where(np.abs(differences) <= tie_tolerance, 0.5, (differences > 0).astype(np.float64))


def pair_scores(rows: pl.DataFrame, settings: EvaluationSettings) -> list[PairScores]:
    """Scores of each model, in the order of names.

    Args:
        rows: Scored pairs that `check_rows` accepts.
        settings: Reward, scale and slices.
    """
    return [
        _pair_scores(str(name), part, rows, settings)
        for (name,), part in sorted(rows.partition_by("model", as_dict=True).items(), key=lambda entry: str(entry[0]))
    ]


def _pair_scores(name: str, part: pl.DataFrame, rows: pl.DataFrame, settings: EvaluationSettings) -> PairScores:
    part = part.sort("pair_id")
    sides = {}
    for side in ("chosen", "rejected"):
        counts = part[f"{side}_token_count"].cast(pl.Float64).to_numpy()
        policy = part[f"policy_{side}_logps"].cast(pl.Float64).to_numpy()
        reference = _optional(part, f"reference_{side}_logps")
        sides[side] = (_rewards(policy, reference, counts, settings), policy, reference, counts)
    chosen, rejected = sides["chosen"], sides["rejected"]
    return PairScores(
        name,
        _groups(part, rows),
        chosen[0],
        rejected[0],
        chosen[1],
        rejected[1],
        chosen[2],
        rejected[2],
        chosen[3],
        rejected[3],
        _slices(part, settings),
        settings.tie_tolerance,
    )


def unpaired_scores(rows: pl.DataFrame, settings: EvaluationSettings) -> list[UnpairedScores]:
    """Scores of each model, in the order of names.

    Args:
        rows: Scored unpaired rows that `check_rows` accepts.
        settings: Reward and scale.
    """
    scores = []
    for (name,), unsorted in sorted(rows.partition_by("model", as_dict=True).items(), key=lambda entry: str(entry[0])):
        part = unsorted.sort("response_id")
        counts = part["token_count"].cast(pl.Float64).to_numpy()
        policy = part["policy_logps"].cast(pl.Float64).to_numpy()
        reference = _optional(part, "reference_logps")
        rewards = _rewards(policy, reference, counts, settings)
        labels = part["label"].to_numpy()
        scores.append(UnpairedScores(str(name), _groups(part, rows), labels, rewards, policy, reference, counts))
    return scores


def _rewards(
    policy: FloatArray, reference: FloatArray | None, counts: FloatArray, settings: EvaluationSettings
) -> FloatArray:
    if settings.reward == "sum_logps":
        return settings.beta * policy
    if settings.reward == "mean_logps":
        return settings.beta * policy / counts
    if reference is None:
        raise ValueError("the implicit reward needs reference log-probs; check_rows should have refused these rows")
    return settings.beta * (policy - reference)


def _optional(part: pl.DataFrame, column: str) -> FloatArray | None:
    if column not in part.columns or part[column].null_count():
        return None
    return part[column].cast(pl.Float64).to_numpy()


def _groups(part: pl.DataFrame, rows: pl.DataFrame) -> Groups:
    names = rows.select(pl.col("group_id").unique().sort()).with_row_index("number")
    numbers = part.select("group_id").join(names, on="group_id", how="left", maintain_order="left")["number"]
    return Groups(numbers.to_numpy().astype(np.int64), names.height)


def _slices(part: pl.DataFrame, settings: EvaluationSettings) -> dict[str, BoolArray]:
    found = {}
    for column in settings.slice_columns:
        for value in part[column].unique().sort().to_list():
            rows = part[column].is_null() if value is None else part[column] == value
            found[f"{column}={value}"] = rows.fill_null(False).to_numpy()
    return found
