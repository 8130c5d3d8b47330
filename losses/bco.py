"""Binary classifier optimisation: thumbs as labels of a logistic classifier, on single rows or on pairs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, one_of
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .running import RunningMean as RunningMean
from .types import PairLogps, PairLossOutput, UnpairedLogps, UnpairedLossOutput, required, weighted, widened


@dataclass(frozen=True)
class BCOConfig:
    """Hyper-parameters of BCO on single rows.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        soft_labels: Use each row's `desirable_probability` as its label.
        shift: `batch`: the middle of the two classes' mean log-ratios. `running`: the mean log-ratio of all rows that
            were trained on, these included; `UnpairedLogps.seen` hands on those before.
        reference_point_over: Over which rows whoever trains takes a batch's shift: all of an optimiser `step`, or each
            `micro_batch` alone.
    """

    beta: float = 0.1
    soft_labels: bool = False
    shift: Literal["batch", "running"] = "batch"
    reference_point_over: Literal["step", "micro_batch"] = "step"

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        one_of(("batch", "running"), shift=self.shift)
        one_of(("step", "micro_batch"), reference_point_over=self.reference_point_over)
        if self.shift == "running" and self.reference_point_over == "micro_batch":
            raise ValueError("reference_point_over: a running shift goes on by whole steps; leave it out.")


@dataclass(frozen=True)
class BCOPairConfig:
    """Hyper-parameters of BCO on pairs.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        shift: `zero` (TRL's `bco_pair`) or `batch`: the batch's mean reward over both sides (the paper).
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    shift: Literal["zero", "batch"] = "zero"
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        one_of(("zero", "batch"), shift=self.shift)


def bco_reference_point(batch: UnpairedLogps, config: BCOConfig) -> torch.Tensor:
    """BCO's shift over beta: () nats, without a gradient.

    The middle of the two classes' mean log-ratios, a class without rows left out; or where it is `running`, the mean of
    these and all before.

    With several parts to a step, call it once on the whole step and hand the value to each part.

    Raises:
        MissingInputError: The batch lacks reference log-probs.
    """
    ratios = _log_ratios(batch).detach()
    if config.shift == "running":
        return ratios.new_tensor((batch.seen or RunningMean()).updated(ratios).mean)
    means = [part.mean() for part in (ratios[batch.labels], ratios[~batch.labels]) if part.numel()]
    return torch.stack(means).mean() if means else ratios.new_zeros(())


def bco(batch: UnpairedLogps, config: BCOConfig) -> UnpairedLossOutput:
    """-log sigma(beta (r - s)) for desirable rows, -log sigma(beta (s - r)) for undesirable ones.

    The shift s is `batch.reference_point` or that of this batch; beta s is
    the paper's delta. Unlike KTO's, this loss keeps pulling at rows that are far on the wrong side.

    Args:
        batch: Summed log-probs and labels.
        config: beta and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Jung et al. (2024), "Binary Classifier Optimization" (arXiv 2404.04656), without its density-ratio weights,
    which `weights` can hold.
    """
    ratios = _log_ratios(batch)
    shift = bco_reference_point(batch, config) if batch.reference_point is None else batch.reference_point.detach()
    desirable = batch.labels.to(ratios)
    if config.soft_labels:
        desirable = required(batch.desirable_probability, "desirable_probability", "BCO with soft labels").to(ratios)
    gap = config.beta * (ratios - shift)
    losses = -desirable * logsigmoid(gap) - (1 - desirable) * logsigmoid(-gap)
    return UnpairedLossOutput(weighted(losses, batch.weights), (config.beta * ratios).detach(), shift)


def bco_pair(batch: PairLogps, config: BCOPairConfig) -> PairLossOutput:
    """-log sigma(beta r_w - d) - log sigma(d - beta r_l) for each pair.

    Args:
        batch: Summed log-probs of policy and reference.
        config: beta, where the shift d comes from, and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Jung et al. (2024), arXiv 2404.04656, on both sides of a pair; TRL's `bco_pair`.
    """
    chosen, rejected = log_ratios(batch, "BCO")
    shift = chosen.new_zeros(())
    if config.shift == "batch" and chosen.numel():
        shift = config.beta * 0.5 * (chosen.mean() + rejected.mean()).detach()

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(config.beta * better - shift) - logsigmoid(shift - config.beta * worse)

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "BCO"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )


def _log_ratios(batch: UnpairedLogps) -> torch.Tensor:
    return widened(batch.policy_logps) - required(batch.reference_logps, "reference_logps", "BCO")
