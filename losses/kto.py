"""Kahneman-Tversky optimisation: thumbs as they are, without pairs."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from .checks import above_zero, at_least_zero, one_of
from .shapes import one_a_row
from .types import UnpairedLogps, UnpairedLossOutput, as_tensor, required, weighted, widened

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
        reduction: `rows`: the mean over all rows (the paper, TRL); `classes`: the mean of the two classes' means. Class
            means are those of the batch that is passed in.
        soft_labels: Use each row's `desirable_probability` as its label.
        n_desirable: Desirable rows in the training data, for the weights.
        n_undesirable: Undesirable rows in the training data.
        reference_point_over: Over which rows whoever trains estimates it: all of an optimiser `step`, or each
            `micro_batch` alone (TRL), which hangs on how many rows fit in memory.
    """

    beta: float = 0.1
    reference_point: Literal["mismatched", "batch", "zero"] = "mismatched"
    desirable_weight: float | None = None
    undesirable_weight: float | None = None
    reduction: Literal["rows", "classes"] = "rows"
    soft_labels: bool = False
    n_desirable: int = 1
    n_undesirable: int = 1
    reference_point_over: Literal["step", "micro_batch"] = "step"

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        one_of(("mismatched", "batch", "zero"), reference_point=self.reference_point)
        one_of(("rows", "classes"), reduction=self.reduction)
        one_of(("step", "micro_batch"), reference_point_over=self.reference_point_over)
        if self.reference_point == "zero" and self.reference_point_over == "micro_batch":
            raise ValueError("reference_point_over: a reference_point of zero is the same over any rows; leave it out.")
        if min(self.n_desirable, self.n_undesirable) < 0:
            raise ValueError("n_desirable and n_undesirable are counts and cannot be below 0.")
        for name in ("desirable_weight", "undesirable_weight"):
            weight = getattr(self, name)
            if weight is not None:
                at_least_zero(**{name: weight})


def class_weights(config: KTOConfig) -> ClassWeights:
    """The weights set, and for those not set the ones that keep the weighted classes in balance.

    In balance: desirable_weight n_desirable / (undesirable_weight n_undesirable) lies in [1, 4/3]. Of two weights
    not set, the rarer class's is raised; of one, it takes the value nearest 1 that balances the other. A class
    without rows or with a weight of 0 has nothing to balance: a weight not set is 1 then.

    Source: Ethayarajh et al. (2024), "KTO", section 4.3.
    """
    desirable, undesirable = config.desirable_weight, config.undesirable_weight
    ratio = config.n_desirable / config.n_undesirable if config.n_undesirable else 0.0
    if ratio == 0 or desirable == 0 or undesirable == 0:
        return ClassWeights(1.0 if desirable is None else desirable, 1.0 if undesirable is None else undesirable)
    if desirable is None:
        if undesirable is None:
            return ClassWeights(max(1.0, _LOWEST_RATIO / ratio), max(1.0, ratio / _HIGHEST_RATIO))
        scale = undesirable / ratio
        return ClassWeights(_nearest_to_one(_LOWEST_RATIO * scale, _HIGHEST_RATIO * scale), undesirable)
    if undesirable is None:
        scale = desirable * ratio
        undesirable = _nearest_to_one(scale / _HIGHEST_RATIO, scale / _LOWEST_RATIO)
    return ClassWeights(desirable, undesirable)


def _nearest_to_one(low: float, high: float) -> float:
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

    r is the policy's log-prob minus the reference's. The mean of the losses is the training loss under either
    reduction. A soft label takes the expectation over both classes.

    Args:
        batch: Summed log-probs and labels; mismatched log-probs where z0 is estimated from them.
        config: beta, the reference point's estimator and the class weights.

    Raises:
        MissingInputError: The batch lacks reference log-probs, what the estimator needs, or soft labels that are
            asked for.

    Source: Ethayarajh et al. (2024), "KTO", equations 7 and 8.
    """
    ratios = _log_ratios(batch)
    point = kto_reference_point(batch, config) if batch.reference_point is None else batch.reference_point.detach()
    weights = class_weights(config)
    desirable = batch.labels.to(ratios)
    if config.soft_labels:
        desirable = required(batch.desirable_probability, "desirable_probability", "KTO with soft labels").to(ratios)
    gap = config.beta * (ratios - point)
    # 1 - sigma(x) written as sigma(-x), which keeps its digits where sigma(x) rounds to 1.
    losses = desirable * weights.desirable * torch.sigmoid(-gap)
    losses = losses + (1 - desirable) * weights.undesirable * torch.sigmoid(gap)
    if config.reduction == "classes":
        losses = losses * _class_mean_factors(batch.labels).to(losses)
    return UnpairedLossOutput(weighted(losses, batch.weights), (config.beta * ratios).detach(), point)


def _log_ratios(batch: UnpairedLogps) -> torch.Tensor:
    return widened(batch.policy_logps) - required(batch.reference_logps, "reference_logps", "KTO")


def _class_mean_factors(labels: torch.Tensor) -> torch.Tensor:
    """(batch,) factors that turn the mean over rows into the mean of the present classes' means."""
    counts = torch.stack([(~labels).sum(), labels.sum()])
    return labels.numel() / ((counts > 0).sum() * counts[labels.long()])


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

    Raises:
        ValueError: Shapes of policy and reference differ.
    """
    policy = [as_tensor(policy_chosen_logps), as_tensor(policy_rejected_logps)]
    reference = [as_tensor(ref_chosen_logps), as_tensor(ref_rejected_logps)]
    one_a_row("KTO", policy_chosen_logps=policy[0], ref_chosen_logps=reference[0])
    one_a_row("KTO", policy_rejected_logps=policy[1], ref_rejected_logps=reference[1])
    labels = torch.cat(
        [torch.full_like(part, value, dtype=torch.bool) for part, value in zip(policy, (1, 0), strict=True)]
    )
    batch = UnpairedLogps(torch.cat(policy), labels, torch.cat(reference))
    losses = kto(
        batch, KTOConfig(beta=beta, reference_point="batch", desirable_weight=1.0, undesirable_weight=1.0)
    ).losses
    means = [part.mean() for part in (losses[labels], losses[~labels]) if part.numel()]
    return torch.stack(means).sum() / 2
