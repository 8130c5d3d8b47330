"""Which rows of a step have a gradient that is not finite, found by computing each alone."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch

from ..errors import TrainingError
from .objective import Objective
from .parallel.wrapping import exchanging, whole
from .policy import Policy
from .rows import PairRow, Row

_SHOWN: Final = 3


class _Alone(NamedTuple):
    """A row, and the norm of its own gradient."""

    row: Row
    norm: float


def gradient_error(
    policy: Policy, objective: Objective, rows: Sequence[Row], statistic: torch.Tensor | None
) -> TrainingError:
    """The error of a step whose losses are finite and whose gradient is not; no weight is changed.

    Args:
        policy: The model; the gradients that lie on it are dropped.
        objective: The method.
        rows: All rows of the step; each process of several computes all of them.
        statistic: The step's value that each row needs.
    """
    advice = "Lower train.learning_rate, set train.dtype to float32, or leave these rows out."
    if any(method.takes_whole_steps for method in objective.methods):
        # A row alone would have another loss.
        named = ", ".join(row.row_id for row in rows[:_SHOWN])
        _forget(policy)
        return TrainingError(f"train: the gradient of a step is not finite ({len(rows)} rows, first {named}). {advice}")
    alone = [_Alone(row, _norm_of(policy, objective, row, statistic)) for row in rows]
    bad = [found for found in alone if not math.isfinite(found.norm)]
    _forget(policy)
    if not bad:
        largest = sorted(alone, key=lambda found: -found.norm)[:_SHOWN]
        shown = "; ".join(f"{found.norm:.3g} of {_described(policy, found.row)}" for found in largest)
        return TrainingError(
            f"train: the gradient of a step is not finite, and that of each of its {len(rows)} rows alone is: their "
            f"sum overflows. The largest: {shown}. {advice}"
        )
    shown = "; ".join(_described(policy, found.row) for found in bad[:_SHOWN])
    return TrainingError(
        f"train: the gradient of {len(bad)} of the {len(rows)} rows of a step is not finite: {shown}. {advice}"
    )


def _norm_of(policy: Policy, objective: Objective, row: Row, statistic: torch.Tensor | None) -> float:
    _forget(policy)
    with exchanging(policy.scorer, last=True):
        torch.autograd.backward(objective.measure(policy, [row], statistic).losses.sum())
    gradients = [weight.grad for weight in policy.model.parameters() if weight.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))


def _forget(policy: Policy) -> None:
    for weight in policy.model.parameters():
        weight.grad = None


def _described(policy: Policy, row: Row) -> str:
    """A row's id, and of each of its sequences tokens and log-probs."""
    roles = ("chosen", "rejected") if isinstance(row, PairRow) else ("answer", "mismatched answer")
    with torch.no_grad():
        logps = policy.logps(row.sequences).logps.tolist()
    parts = []
    for role, sequence, found in zip(roles, row.sequences, logps, strict=False):
        tokens = f"{len(sequence.prompt_token_ids)} + {len(sequence.completion_token_ids)} tokens"
        reference = "" if sequence.reference_logps is None else f", {sequence.reference_logps:.4g} under the reference"
        parts.append(f"{role} {tokens}, {found:.4g} nats{reference}")
    return f"{row.row_id} ({'; '.join(parts)})"
