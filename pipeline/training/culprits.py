"""Which rows of a step have a gradient that is not finite, found by computing each alone."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch

from ..errors import TrainingError
from .goal import Goal
from .parallel.wrapping import exchanging, whole
from .policy import Policy
from .rows import PairRow, Row

_SHOWN: Final = 3


class _Alone(NamedTuple):
    """A row, and the norm of its own gradient."""

    row: Row
    norm: float


def gradient_error(
    policy: Policy, objective: Goal, rows: Sequence[Row], statistic: torch.Tensor | None
) -> TrainingError:
    """The error of a step whose losses are finite and whose gradient is not; no weight is changed.

    Args:
        policy: The model; the gradients that lie on it are dropped.
        objective: What is trained towards.
        rows: All rows of the step; each process of several computes all of them.
        statistic: The step's value that each row needs.
    """
    section = objective.section
    advice = f"Lower {section}.learning_rate, set {section}.dtype to float32, or leave these rows out."
    if objective.takes_whole_steps:
        # A row alone would have another loss.
        named = ", ".join(row.row_id for row in rows[:_SHOWN])
        _forget(policy)
        return TrainingError(
            f"{section}: the gradient of a step is not finite ({len(rows)} rows, first {named}). {advice}"
        )
    alone = [_Alone(row, _norm_of(policy, objective, row, statistic)) for row in rows]
    bad = [found for found in alone if not math.isfinite(found.norm)]
    _forget(policy)
    if not bad:
        largest = sorted(alone, key=lambda found: -found.norm)[:_SHOWN]
        shown = "; ".join(f"{found.norm:.3g} of {_described(policy, objective, found.row)}" for found in largest)
        return TrainingError(
            f"{section}: the gradient of a step is not finite, and that of each of its {len(rows)} rows alone is: "
            f"their sum overflows. The largest: {shown}. {advice}"
        )
    shown = "; ".join(_described(policy, objective, found.row) for found in bad[:_SHOWN])
    return TrainingError(
        f"{section}: the gradient of {len(bad)} of the {len(rows)} rows of a step is not finite: {shown}. {advice}"
    )


def _norm_of(policy: Policy, objective: Goal, row: Row, statistic: torch.Tensor | None) -> float:
    _forget(policy)
    with exchanging(policy.scorer, last=True):
        torch.autograd.backward(objective.measure(policy, [row], statistic).losses.sum())
    gradients = [weight.grad for weight in policy.model.parameters() if weight.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))


def _forget(policy: Policy) -> None:
    for weight in policy.model.parameters():
        weight.grad = None


def _described(policy: Policy, objective: Goal, row: Row) -> str:
    """A row's id, and of each of its sequences tokens and what the model says of it."""
    roles = ("chosen", "rejected") if isinstance(row, PairRow) else ("answer", "mismatched answer")
    parts = []
    for role, sequence, found in zip(roles, row.sequences, objective.described(policy, row.sequences), strict=False):
        tokens = f"{len(sequence.prompt_token_ids)} + {len(sequence.completion_token_ids)} tokens"
        parts.append(f"{role} {tokens}, {found}")
    return f"{row.row_id} ({'; '.join(parts)})"
