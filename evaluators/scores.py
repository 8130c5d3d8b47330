"""Scored rows as arrays: one set a model, rows sorted by id, groups numbered by id, so that no order matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from .groups import BoolArray, Groups, group_numbers
from .rewards import reward_of
from .slices import SliceColumn, slice_columns
from .types import EvaluationError, EvaluationSettings, FloatArray


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
        losses: The method's own loss of each pair; None where it was not stored for every pair.
        slices: The slices of each slice column that the rows have.
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
    losses: FloatArray | None
    slices: tuple[SliceColumn, ...]
    tie_tolerance: float = 0.0

    @cached_property
    def margins(self) -> FloatArray:
        """Reward of chosen minus reward of rejected."""
        return self.chosen_rewards - self.rejected_rewards

    @cached_property
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
        losses: The method's own loss of each row; None where it was not stored for every row.
        slices: The slices of each slice column that the rows have.
        tie_tolerance: A reward no further from 0 than this is on neither side of it.
        response_models: (rows,) who wrote each answer, null where that is not known; None without such a column.
    """

    model: str
    groups: Groups
    labels: BoolArray
    rewards: FloatArray
    logps: FloatArray
    reference_logps: FloatArray | None
    token_counts: FloatArray
    losses: FloatArray | None
    slices: tuple[SliceColumn, ...]
    tie_tolerance: float = 0.0
    response_models: pl.Series | None = None

    @cached_property
    def wins(self) -> FloatArray:
        """1 where the reward is on the label's side of 0, 1/2 where it is 0, else 0."""
        return win_shares(np.where(self.labels, self.rewards, -self.rewards), self.tie_tolerance)


def win_shares(differences: FloatArray, tie_tolerance: float = 0.0) -> FloatArray:
    """1 for a positive difference, 1/2 for one within the tolerance of 0, else 0."""
    return np.where(np.abs(differences) <= tie_tolerance, 0.5, (differences > 0).astype(np.float64))


def pair_scores(models: Mapping[str, pl.DataFrame], settings: EvaluationSettings) -> list[PairScores]:
    """Scores of each model, in the order of names.

    Args:
        models: Each model's pairs, as `checked_rows` gives them.
        settings: Reward, scale and slices.

    Raises:
        EvaluationError: A reward is too large to be a number.
    """
    groups = _groups(models, settings)
    return [_pair_scores(name, part, groups, settings) for name, part in models.items()]


class _Side(NamedTuple):
    rewards: FloatArray
    policy: FloatArray
    reference: FloatArray | None
    counts: FloatArray


def _pair_scores(name: str, part: pl.DataFrame, groups: Groups, settings: EvaluationSettings) -> PairScores:
    chosen, rejected = (_side(part, f"{side}_", settings) for side in ("chosen", "rejected"))
    _check_finite(name, chosen.rewards - rejected.rewards, "margins", settings)
    return PairScores(
        model=name,
        groups=groups,
        chosen_rewards=chosen.rewards,
        rejected_rewards=rejected.rewards,
        chosen_logps=chosen.policy,
        rejected_logps=rejected.policy,
        reference_chosen_logps=chosen.reference,
        reference_rejected_logps=rejected.reference,
        chosen_token_counts=chosen.counts,
        rejected_token_counts=rejected.counts,
        losses=_optional(part, "loss"),
        slices=slice_columns(part, settings),
        tie_tolerance=settings.tie_tolerance,
    )


def unpaired_scores(models: Mapping[str, pl.DataFrame], settings: EvaluationSettings) -> list[UnpairedScores]:
    """Scores of each model, in the order of names.

    Args:
        models: Each model's unpaired rows, as `checked_rows` gives them.
        settings: Reward, scale and slices.

    Raises:
        EvaluationError: A reward is too large to be a number.
    """
    groups = _groups(models, settings)
    scores = []
    for name, part in models.items():
        side = _side(part, "", settings)
        _check_finite(name, side.rewards, "rewards", settings)
        scores.append(
            UnpairedScores(
                model=name,
                groups=groups,
                labels=part["label"].to_numpy(),
                rewards=side.rewards,
                logps=side.policy,
                reference_logps=side.reference,
                token_counts=side.counts,
                losses=_optional(part, "loss"),
                slices=slice_columns(part, settings),
                tie_tolerance=settings.tie_tolerance,
                response_models=part["response_model"].cast(pl.String) if "response_model" in part.columns else None,
            )
        )
    return scores


def _groups(models: Mapping[str, pl.DataFrame], settings: EvaluationSettings) -> Groups:
    """The groups of the rows, which are the same under every model."""
    return group_numbers(next(iter(models.values()))["group_id"], settings.seed)


def _side(part: pl.DataFrame, side: str, settings: EvaluationSettings) -> _Side:
    counts = part[f"{side}token_count"].cast(pl.Float64).to_numpy()
    policy = part[f"policy_{side}logps"].cast(pl.Float64).to_numpy()
    reference = _optional(part, f"reference_{side}logps")
    rewards = part.select(reward_of(settings.reward, settings.beta, side)).to_series().to_numpy()
    return _Side(rewards, policy, reference, counts)


def _check_finite(model: str, values: FloatArray, what: str, settings: EvaluationSettings) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise EvaluationError(
            f"model {model}: {bad:,} of {values.shape[0]:,} {what} are too large to be a number at beta "
            f"{settings.beta:g}; look at the log-probs' unit (nats, summed) and at beta"
        )


def _optional(part: pl.DataFrame, column: str) -> FloatArray | None:
    if column not in part.columns or part[column].null_count():
        return None
    return part[column].cast(pl.Float64).to_numpy()
