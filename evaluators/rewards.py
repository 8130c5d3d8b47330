"""What a reward is: its kinds, and a row's reward from its log-probs. No other module defines either."""

from __future__ import annotations

from typing import Literal, TypeAlias

import polars as pl

RewardKind: TypeAlias = Literal["implicit", "mean_implicit", "sum_logps", "mean_logps"]


def reward_kind(*, against_reference: bool, per_token: bool) -> RewardKind:
    """The kind of a reward that is a log-ratio to the reference or a log-prob, a mean over tokens or a sum."""
    if against_reference:
        return "mean_implicit" if per_token else "implicit"
    return "mean_logps" if per_token else "sum_logps"


def needs_reference(kind: RewardKind) -> bool:
    """Whether rewards of this kind are measured against the reference."""
    return kind in ("implicit", "mean_implicit")


def reward_of(kind: RewardKind, beta: float, side: str) -> pl.Expr:
    """The reward of one side of scored rows, float64.

    Args:
        kind: What a reward is.
        beta: Its scale.
        side: `chosen_` or `rejected_` of pairs, nothing of unpaired rows.
    """
    logps = pl.col(f"policy_{side}logps").cast(pl.Float64)
    if needs_reference(kind):
        logps = logps - pl.col(f"reference_{side}logps").cast(pl.Float64)
    scaled = logps * beta
    if kind in ("mean_implicit", "mean_logps"):
        scaled = scaled / pl.col(f"{side}token_count").cast(pl.Float64)
    return scaled
