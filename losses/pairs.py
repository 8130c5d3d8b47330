"""What the paired methods share: log-ratios, means, soft labels, and the output with its metrics."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from losses.numerics import at_least_float32
from losses.types import LossInputError, LossOutput, PairLogps


class PairValues(NamedTuple):
    """One value for each side of each pair.

    Attributes:
        chosen: (batch,) float32 or float64.
        rejected: (batch,) float32 or float64.
    """

    chosen: Tensor
    rejected: Tensor


def policy_logps(batch: PairLogps) -> PairValues:
    """Return the policy's summed log-probs, nats, in float32 or float64."""
    return PairValues(at_least_float32(batch.policy_chosen_logps), at_least_float32(batch.policy_rejected_logps))


def log_ratios(batch: PairLogps) -> PairValues:
    """Return `r = policy logps - reference logps` of both sides, nats.

    Raises:
        LossInputError: the batch has no reference log-probs.
    """
    if batch.reference_chosen_logps is None or batch.reference_rejected_logps is None:
        raise LossInputError(
            "this method needs reference_chosen_logps and reference_rejected_logps, and the batch has none; "
            "score the reference first or take a reference-free method (orpo, simpo, cpo)."
        )
    policy = policy_logps(batch)
    # A reference is never trained: a caller's forgotten no_grad must not change the gradient.
    return PairValues(
        policy.chosen - at_least_float32(batch.reference_chosen_logps.detach()),
        policy.rejected - at_least_float32(batch.reference_rejected_logps.detach()),
    )


def per_token(values: PairValues, batch: PairLogps) -> PairValues:
    """Return summed values divided by the completions' token counts.

    Raises:
        LossInputError: the batch has no token counts, or a completion has none (its rows are named).
    """
    if batch.chosen_token_counts is None or batch.rejected_token_counts is None:
        raise LossInputError(
            "this method averages over tokens and needs chosen_token_counts and rejected_token_counts."
        )
    return PairValues(
        values.chosen / nonzero_counts(batch.chosen_token_counts, "chosen_token_counts"),
        values.rejected / nonzero_counts(batch.rejected_token_counts, "rejected_token_counts"),
    )


def nonzero_counts(counts: Tensor, name: str) -> Tensor:
    """Return the counts, after making sure that none is zero.

    Raises:
        LossInputError: some counts are below 1; the message names their rows.
    """
    empty = torch.nonzero(counts < 1).flatten().tolist()
    if empty:
        raise LossInputError(
            f"{name}: {len(empty)} of {counts.numel()} rows have no tokens (first rows: {empty[:3]}); a mean "
            "over no tokens does not exist, drop these rows."
        )
    return counts


def expected_over_labels(
    loss: Callable[[Tensor, Tensor], Tensor],
    values: PairValues,
    chosen_better_probability: Tensor | None,
) -> Tensor:
    """Return `p loss(chosen, rejected) + (1 - p) loss(rejected, chosen)`; just the first term where p is None.

    Args:
        loss: maps two (batch,) tensors, the better and the worse side, to (batch,) losses.
        values: what `loss` takes, by side.
        chosen_better_probability: (batch,) in [0, 1], or None for 1.
    """
    as_labelled = loss(values.chosen, values.rejected)
    if chosen_better_probability is None:
        return as_labelled
    probability = chosen_better_probability.to(as_labelled.dtype)
    return probability * as_labelled + (1 - probability) * loss(values.rejected, values.chosen)


def pair_output(
    losses: Tensor, rewards: PairValues, batch: PairLogps, metrics: dict[str, Tensor] | None = None
) -> LossOutput:
    """Return the output of a paired method: weighted losses, detached rewards, the usual metrics.

    Args:
        losses: (batch,) unweighted.
        rewards: (batch,) each; detached here.
        batch: where the weights are.
        metrics: the method's own metrics, added to `reward_metrics`.
    """
    if batch.weights is not None:
        losses = losses * batch.weights.to(losses.dtype)
    chosen, rejected = rewards.chosen.detach(), rewards.rejected.detach()
    own = {name: value.detach() for name, value in (metrics or {}).items()}
    return LossOutput(
        losses=losses,
        chosen_rewards=chosen,
        rejected_rewards=rejected,
        metrics=reward_metrics(PairValues(chosen, rejected)) | own,
    )


def reward_metrics(rewards: PairValues) -> dict[str, Tensor]:
    """Return mean rewards, mean margin, accuracy, and the number of ties.

    A tie counts half in `accuracy`: policy == reference gives 0.5 with every pair a tie. (TRL prints 0.)

    Args:
        rewards: (batch,) each, detached.
    """
    margins = rewards.chosen - rewards.rejected
    ties = (margins == 0).to(margins.dtype)
    return {
        "chosen_reward": rewards.chosen.mean(),
        "rejected_reward": rewards.rejected.mean(),
        "reward_margin": margins.mean(),
        "accuracy": ((margins > 0).to(margins.dtype) + 0.5 * ties).mean(),
        "ties": ties.sum(),
    }
