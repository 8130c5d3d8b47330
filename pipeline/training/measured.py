"""What is logged of forward passes: sums over rows, and their means."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from thumbline.losses import PairLossOutput, UnpairedLogps, UnpairedLossOutput

from ..errors import TrainingError


class Measured(NamedTuple):
    """What one forward pass gave.

    Attributes:
        losses: (rows,) float32; carries the gradient.
        sums: Sums over rows of what is logged, by metric; a metric's mean is its sum over its count.
        counts: Rows in each sum.
        infinite: Ids of rows whose loss is not finite.
    """

    losses: torch.Tensor
    sums: dict[str, float]
    counts: dict[str, int]
    infinite: Sequence[str] = ()


def pair_measures(output: PairLossOutput, logps: torch.Tensor, reference_logps: torch.Tensor | None) -> Measured:
    """Of a forward pass over pairs.

    Args:
        output: The loss's.
        logps: (2 x pairs,) nats, summed: the policy's, of chosen answers, then of rejected ones.
        reference_logps: Likewise the reference's; None where no method takes them.
    """
    margins = output.chosen_rewards - output.rejected_rewards
    half = margins.shape[0]
    values = {
        "loss": output.losses.detach(),
        "accuracy": (margins > 0).float() + 0.5 * (margins == 0).float(),
        "reward_margin": margins,
        "chosen_rewards": output.chosen_rewards,
        "rejected_rewards": output.rejected_rewards,
        "chosen_logps": logps[:half],
        "rejected_logps": logps[half:],
    }
    if reference_logps is not None:
        # Of answers that the reference wrote, this mean is an unbiased estimate of KL(reference || policy).
        values["reference_kl"] = (reference_logps - logps).view(2, half).mean(dim=0)
    sums = {name: float(value.sum()) for name, value in values.items()}
    if output.margin_moments is not None and output.margin_moments.mean is not None:
        sums["margin_mean"] = output.margin_moments.mean * half
        sums["margin_deviation"] = output.margin_moments.deviation * half
    return Measured(output.losses, sums, dict.fromkeys(sums, half))


def unpaired_measures(output: UnpairedLossOutput, batch: UnpairedLogps) -> Measured:
    """Of a forward pass over unpaired rows, given as the loss took them."""
    labels, logps = batch.labels.cpu(), batch.policy_logps.detach().cpu()
    rewards, point = output.rewards.cpu(), float(output.reference_point)
    parts = {
        "loss": output.losses.detach().cpu(),
        "desirable_rewards": rewards[labels],
        "undesirable_rewards": rewards[~labels],
        "desirable_logps": logps[labels],
        "undesirable_logps": logps[~labels],
    }
    if batch.reference_logps is not None:
        ratios = logps - batch.reference_logps.cpu()
        # On the side of the reference point that the label says; on the point itself, half.
        parts["accuracy"] = torch.where(labels, ratios > point, ratios < point).float() + 0.5 * (ratios == point)
        parts["reference_kl"] = -ratios
    sums = {name: float(part.sum()) for name, part in parts.items()}
    counts = {name: part.numel() for name, part in parts.items()}
    rows = labels.numel()
    return Measured(output.losses, sums | {"reference_point": point * rows}, counts | {"reference_point": rows})


class Tally:
    """Means over several forward passes."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._infinite: list[str] = []

    def add(self, measured: Measured) -> None:
        """Take in one forward pass."""
        self._add(measured.sums, measured.counts)
        self._infinite += measured.infinite

    def merge(self, other: "Tally") -> None:
        """Take in all that another one did."""
        self._add(other._sums, other._counts)
        self._infinite += other._infinite

    def _add(self, sums: Mapping[str, float], counts: Mapping[str, int]) -> None:
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + counts[name]

    def refuse_infinite(self, section: str = "train") -> None:
        """Let a step go on only where each row's loss is finite.

        Args:
            section: Section of the settings that asked for the step.

        Raises:
            TrainingError: Names the rows where it is not.
        """
        if self._infinite:
            raise TrainingError(
                f"{section}: the loss of {len(self._infinite)} of {self._counts['loss']} rows is not finite (first: "
                f"{', '.join(self._infinite[:3])}). Lower {section}.learning_rate, or set {section}.dtype to float32."
            )

    def means(self) -> dict[str, float]:
        """The mean of each metric that any row had."""
        means = {name: self._sums[name] / count for name, count in self._counts.items() if count}
        if "desirable_rewards" in means and "undesirable_rewards" in means:
            means["reward_margin"] = means["desirable_rewards"] - means["undesirable_rewards"]
        return means
