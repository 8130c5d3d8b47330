"""Kahneman-Tversky optimisation: thumbs as they are, without pairs."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from losses.types import UnpairedLogps, UnpairedLossOutput, as_tensor, required, weighted, widened

# The paper keeps desirable_weight n_desirable / (undesirable_weight n_undesirable) between these (section 4.3).
_LOWEST_RATIO, _HIGHEST_RATIO = 1.0, 4.0 / 3.0


class ClassWeights(NamedTuple):
    """Weights of the two classes.

    Attributes:
        desirable: Weight of a desirable row.
        undesirable: Weight of an undesirable row.
    """

    desirable: float
    undesirable: float


@dataclass(frozen=True)
class KTOConfig:
    """Hyper-parameters of KTO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        reference_point: `mismatched` (the paper): mean log-ratio of completions of other prompts, at least 0.
            `batch`: the middle of the two classes' mean log-ratios. `zero`.
        desirable_weight: Weight of desirable rows; None: from the counts, as the paper keeps it.
        undesirable_weight: Weight of undesirable rows; None: from the counts.
        n_desirable: Desirable rows in the training data, for the weights.
        n_undesirable: Undesirable rows in the training data.
    """

    beta: float = 0.1
    reference_point: Literal["mismatched", "batch", "zero"] = "mismatched"
    desirable_weight: float | None = None
    undesirable_weight: float | None = None
    n_desirable: int = 1
    n_undesirable: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, not {self.beta}.")
        if self.reference_point not in ("mismatched", "batch", "zero"):
            raise ValueError(f"reference_point must be mismatched, batch or zero, not '{self.reference_point}'.")
        if min(self.n_desirable, self.n_undesirable) < 0:
            raise ValueError("n_desirable and n_undesirable are counts and cannot be below 0.")
        for name in ("desirable_weight", "undesirable_weight"):
            weight = getattr(self, name)
            if weight is not None and not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {weight}.")


def class_weights(config: KTOConfig) -> ClassWeights:
    """The weights set, and for those not set the ones that keep the weighted classes in balance.

    A weight not set is the one nearest 1 that brings desirable_weight n_desirable / (undesirable_weight n_undesirable)
    into [1, 4/3]; with neither set that raises the rarer class. Without rows of both classes, or beside a class
    that is switched off by a weight of 0, it is 1.

    Source: Ethayarajh et al. (2024), "KTO", section 4.3.
    """
    desirable, undesirable = config.desirable_weight, config.undesirable_weight
    ratio = config.n_desirable / config.n_undesirable if config.n_desirable and config.n_undesirable else 0.0
    if desirable is None and undesirable is None and ratio:
        return ClassWeights(max(1.0, _LOWEST_RATIO / ratio), max(1.0, ratio / _HIGHEST_RATIO))
    if undesirable is None and desirable and ratio:
        return ClassWeights(
            desirable, _nearest_1(desirable * ratio / _HIGHEST_RATIO, desirable * ratio / _LOWEST_RATIO)
        )
    if desirable is None and undesirable and ratio:
        return ClassWeights(
            _nearest_1(undesirable * _LOWEST_RATIO / ratio, undesirable * _HIGHEST_RATIO / ratio), undesirable
        )
    return ClassWeights(1.0 if desirable is None else desirable, 1.0 if undesirable is None else undesirable)


def _nearest_1(low: float, high: float) -> float:
    return min(max(1.0, low), high)


def kto_reference_point(batch: UnpairedLogps, config: KTOConfig) -> torch.Tensor:
    """KTO's z0: () nats, without a gradient.

    Over all rows that one optimiser step sees: with gradient accumulation, call it once on the whole step and
    hand the value to each part as `UnpairedLogps.reference_point`.

    Raises:
        MissingInputError: The estimator needs log-probs that the batch does not hold.
    """
    if config.reference_point == "mismatched":
        policy = required(batch.policy_mismatched_logps, "policy_mismatched_logps", "KTO")
        reference = required(batch.reference_mismatched_logps, "reference_mismatched_logps", "KTO")
        if policy.numel() == 0:
            return policy.new_zeros(())
        return (policy - reference).mean().clamp(min=0).detach()
    ratios = _log_ratios(batch).detach()
    if config.reference_point == "zero":
        return ratios.new_zeros(())
    classes = [ratios[batch.labels], ratios[~batch.labels]]
    means = [part.mean() for part in classes if part.numel()]
    return torch.stack(means).mean() if means else ratios.new_zeros(())


def kto(batch: UnpairedLogps, config: KTOConfig) -> UnpairedLossOutput:
    """w_d (1 - sigma(beta (r - z0))) for desirable rows, w_u (1 - sigma(beta (z0 - r))) for undesirable ones.

    r is the policy's log-prob minus the reference's. The mean over all rows is the paper's loss.

    Args:
        batch: Summed log-probs and labels; mismatched log-probs where z0 is estimated from them.
        config: beta, the reference point's estimator and the class weights.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or what the estimator needs.

    Source: Ethayarajh et al. (2024), "KTO", equations 7 and 8.
    """
    ratios = _log_ratios(batch)
    point = kto_reference_point(batch, config) if batch.reference_point is None else batch.reference_point.detach()
    sign = torch.where(batch.labels, 1.0, -1.0).to(ratios)
    weights = class_weights(config)
    per_class = torch.where(batch.labels, weights.desirable, weights.undesirable).to(ratios)
    # 1 - sigma(x) written as sigma(-x), which keeps its digits where sigma(x) rounds to 1.
    losses = per_class * torch.sigmoid(-sign * config.beta * (ratios - point))
    return UnpairedLossOutput(weighted(losses, batch.weights), (config.beta * ratios).detach(), point)


def _log_ratios(batch: UnpairedLogps) -> torch.Tensor:
    return widened(batch.policy_logps) - required(batch.reference_logps, "reference_logps", "KTO")


def kto_loss(
    policy_chosen_logps: torch.Tensor | list[float],
    policy_rejected_logps: torch.Tensor | list[float],
    ref_chosen_logps: torch.Tensor | list[float],
    ref_rejected_logps: torch.Tensor | list[float],
    beta: float = 0.1,
) -> torch.Tensor:
    """KTO on plain tensors: half the sum of the two classes' mean losses, with the batch's own reference point.

    Args:
        policy_chosen_logps: (n,) nats, summed, of desirable completions.
        policy_rejected_logps: (m,) nats, summed, of undesirable completions.
        ref_chosen_logps: (n,) nats, summed, under the reference.
        ref_rejected_logps: (m,) nats, summed, under the reference.
        beta: Higher keeps the policy nearer the reference.
    """
    policy = [as_tensor(policy_chosen_logps), as_tensor(policy_rejected_logps)]
    reference = [as_tensor(ref_chosen_logps), as_tensor(ref_rejected_logps)]
    labels = torch.cat(
        [torch.full_like(part, value, dtype=torch.bool) for part, value in zip(policy, (1, 0), strict=True)]
    )
    batch = UnpairedLogps(torch.cat(policy), labels, torch.cat(reference))
    losses = kto(
        batch, KTOConfig(beta=beta, reference_point="batch", desirable_weight=1.0, undesirable_weight=1.0)
    ).losses
    means = [part.mean() for part in (losses[labels], losses[~labels]) if part.numel()]
    return torch.stack(means).sum() / 2
