"""Training rows to a loss: forward pass, the method's function, and what is logged of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch

from thumbline.losses import (
    LossSpec,
    PairLogps,
    PairLossOutput,
    Term,
    UnpairedLogps,
    UnpairedLossOutput,
    combined,
    loss_config,
    loss_spec,
)
from thumbline.losses.logps import SequenceLogps

from ..errors import TrainingError
from .batches import collate, micro_batches
from .policy import Policy
from .rows import PairRow, Row, TrainingSequence, UnpairedRow

OutputT = TypeVar("OutputT", PairLossOutput, UnpairedLossOutput)


@dataclass(frozen=True)
class Objective:
    """A method with its hyper-parameters, and how many rows a forward pass takes.

    Attributes:
        spec: The method.
        config: Its hyper-parameters.
        micro_batch_rows: Rows a forward pass.
        also: Further methods whose losses are added.
    """

    spec: LossSpec
    config: Any
    micro_batch_rows: int
    also: tuple[Term, ...] = ()

    def step_statistic(self, policy: Policy, rows: Sequence[Row]) -> torch.Tensor | None:
        """The value over all rows of a step that each part of it needs (KTO's z0); None for other methods."""
        if self.spec.step_statistic is None:
            return None
        with torch.no_grad():
            parts = [self._unpaired(policy, part, None) for part in micro_batches(rows, self.micro_batch_rows)]
            batch = UnpairedLogps(*(_joined([getattr(part, name) for part in parts]) for name in _UNPAIRED_FIELDS))
            statistic: torch.Tensor = self.spec.step_statistic(batch, self.config)
            return statistic

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> "Measured":
        """Losses and rewards of rows that fit in one forward pass.

        Raises:
            TrainingError: A loss is not finite; the message names the rows.
        """
        if self.spec.paired:
            measured = self._measure_pairs(policy, rows)
        else:
            batch = self._unpaired(policy, rows, statistic)
            output: UnpairedLossOutput = self._with_terms(self.spec.function(batch, self.config), batch)
            labels = torch.tensor([row.label for row in rows if isinstance(row, UnpairedRow)])
            measured = _unpaired_measures(output, labels)
        bad = [row.row_id for row, fine in zip(rows, measured.losses.isfinite().tolist(), strict=True) if not fine]
        if bad:
            raise TrainingError(
                f"train: the loss of {len(bad)} of {len(rows)} rows is not finite (first: {', '.join(bad[:3])}). "
                f"Lower train.learning_rate, or set train.dtype to float32."
            )
        return measured

    def _measure_pairs(self, policy: Policy, rows: Sequence[Row]) -> "Measured":
        pairs = [row for row in rows if isinstance(row, PairRow)]
        chosen, rejected = [row.chosen for row in pairs], [row.rejected for row in pairs]
        half = len(pairs)
        # One forward pass for both sides: half the launches, and alike lengths share padding.
        both = collate([*chosen, *rejected])
        nll: torch.Tensor | None = None
        if any(getattr(config, "nll_over", "") == "prompt_and_chosen" for config in self._configs()):
            found, prompts = policy.completion_and_prompt_logps(both)
            nll = _mean_nll(found, prompts, half)
        else:
            found = policy.logps(both)
        place = found.logps.device
        batch = PairLogps(
            found.logps[:half],
            found.logps[half:],
            _reference(chosen, place) if self._needs_reference() else None,
            _reference(rejected, place) if self._needs_reference() else None,
            found.token_counts[:half],
            found.token_counts[half:],
            torch.tensor([row.chosen_better_probability for row in pairs], device=place),
            torch.tensor([row.weight for row in pairs], device=place),
            nll,
        )
        output: PairLossOutput = self._with_terms(self.spec.function(batch, self.config), batch)
        return _pair_measures(output, found.logps.detach())

    def _configs(self) -> list[Any]:
        return [self.config, *(loss_config(term.method, term.settings) for term in self.also)]

    def _needs_reference(self) -> bool:
        return self.spec.needs_reference or any(loss_spec(term.method).needs_reference for term in self.also)

    def _with_terms(self, output: OutputT, batch: PairLogps | UnpairedLogps) -> OutputT:
        """The method's output with the further methods' losses added."""
        if not self.also:
            return output
        return replace(output, losses=output.losses + combined(batch, self.also).losses)

    def _unpaired(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> UnpairedLogps:
        """Log-probs of unpaired rows; of their mismatched partners only where the statistic is not known yet."""
        unpaired = [row for row in rows if isinstance(row, UnpairedRow)]
        partners = [row.mismatched for row in unpaired if row.mismatched is not None] if statistic is None else []
        needs_matched = statistic is not None or getattr(self.config, "reference_point", "") != "mismatched"
        matched = [row.matched for row in unpaired]
        place = policy.device
        zeros = torch.zeros(len(matched), device=place)
        return UnpairedLogps(
            policy_logps=policy.logps(collate(matched)).logps if needs_matched else zeros,
            labels=torch.tensor([row.label for row in unpaired], device=place),
            reference_logps=_reference(matched, place),
            policy_mismatched_logps=policy.logps(collate(partners)).logps if partners else zeros[:0],
            reference_mismatched_logps=_reference(partners, place) if partners else zeros[:0],
            reference_point=statistic,
            weights=torch.tensor([row.weight for row in unpaired], device=place),
            desirable_probability=torch.tensor([row.desirable_probability for row in unpaired], device=place),
        )


class Measured(NamedTuple):
    """What one forward pass gave.

    Attributes:
        losses: (rows,) float32; carries the gradient.
        sums: Sums over rows of what is logged, by metric; a metric's mean is its sum over its count.
        counts: Rows in each sum.
    """

    losses: torch.Tensor
    sums: dict[str, float]
    counts: dict[str, int]


_UNPAIRED_FIELDS = (
    "policy_logps",
    "labels",
    "reference_logps",
    "policy_mismatched_logps",
    "reference_mismatched_logps",
)


def _mean_nll(completions: SequenceLogps, prompts: SequenceLogps, rows: int) -> torch.Tensor:
    """(rows,) mean negative log-likelihood a token over prompt and completion of the first `rows` sequences."""
    tokens = (completions.token_counts + prompts.token_counts)[:rows].clamp(min=1)
    return -(completions.logps + prompts.logps)[:rows] / tokens


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(parts)


def _reference(sequences: Sequence[TrainingSequence], device: torch.device) -> torch.Tensor:
    return torch.tensor(
        [sequence.reference_logps for sequence in sequences], dtype=torch.float64, device=device
    ).float()


def _pair_measures(output: PairLossOutput, logps: torch.Tensor) -> Measured:
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
    return Measured(
        output.losses, {name: float(value.sum()) for name, value in values.items()}, dict.fromkeys(values, half)
    )


def _unpaired_measures(output: UnpairedLossOutput, labels: torch.Tensor) -> Measured:
    rewards = output.rewards.cpu()
    parts = {"desirable_rewards": rewards[labels], "undesirable_rewards": rewards[~labels]}
    sums = {name: float(part.sum()) for name, part in parts.items()}
    counts = {name: part.numel() for name, part in parts.items()}
    rows = rewards.numel()
    sums |= {"loss": float(output.losses.detach().sum()), "reference_point": float(output.reference_point) * rows}
    counts |= {"loss": rows, "reference_point": rows}
    return Measured(output.losses, sums, counts)


class Tally:
    """Means over several forward passes."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, measured: Measured) -> None:
        """Take in one forward pass."""
        for name, value in measured.sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + measured.counts[name]

    def means(self) -> dict[str, float]:
        """The mean of each metric that any row had."""
        means = {name: self._sums[name] / count for name, count in self._counts.items() if count}
        if "desirable_rewards" in means and "undesirable_rewards" in means:
            means["reward_margin"] = means["desirable_rewards"] - means["undesirable_rewards"]
        return means
