"""Training rows to a loss: forward pass, the method's function, and what is logged of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch

from thumbline.losses import (
    Method,
    PairLogps,
    PairLossOutput,
    Term,
    UnpairedLogps,
    UnpairedLossOutput,
    combined,
    loss_method,
)
from thumbline.losses.logps import SequenceLogps

from ..errors import TrainingError
from .adjustments import desensitised, policy_weights
from .batches import micro_batches
from .parallel.dealing import Turn, deal
from .parallel.team import ALONE, Team
from .policy import Policy
from .rows import PairRow, Row, TrainingSequence, UnpairedRow
from .scorer import ForwardPass


@dataclass(frozen=True)
class Objective:
    """What is trained: methods whose losses are added up, and how many rows a forward pass takes.

    Attributes:
        terms: The method, whose rewards and value over the step are used, then those added to it.
        micro_batch_rows: Rows a forward pass.
        weighting: Whether pairs are weighed by how likely the policy is to write them (`wpo`).
        ld_alpha: Weight of tokens beyond a pair's shorter completion, in [0, 1].
    """

    terms: tuple[Term, ...]
    micro_batch_rows: int
    weighting: Literal["none", "wpo"] = "none"
    ld_alpha: float = 1.0

    @cached_property
    def methods(self) -> list[Method]:
        """The terms' methods."""
        return [loss_method(term.method, term.settings) for term in self.terms]

    @property
    def method(self) -> Method:
        """The first term's."""
        return self.methods[0]

    def step_statistic(self, policy: Policy, rows: Sequence[Row], team: Team = ALONE) -> torch.Tensor | None:
        """The value over all rows of a step that each part of it needs (KTO's z0); None for other methods.

        Args:
            policy: The model.
            rows: All rows of the step, in every process.
            team: The processes that share them; each calls this, and gets the same.
        """
        if self.method.spec.step_statistic is None:
            return None
        if team.is_several and self.method.needs_mismatched:
            # Each turn is a forward pass in every process: a part without a partner would have none.
            rows = [row for row in rows if isinstance(row, UnpairedRow) and row.mismatched is not None]
        with torch.no_grad():
            turns = deal(micro_batches(rows, self.micro_batch_rows), team.rank, team.size)
            own = [(turn, self._unpaired(policy, turn.rows, None)) for turn in turns]
            return self.method.spec.step_statistic(_of_step(own, team, policy.device), self.method.config)

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> "Measured":
        """Losses and rewards of rows that fit in one forward pass."""
        if self.method.spec.paired:
            pairs = self._pairs(policy, [row for row in rows if isinstance(row, PairRow)])
            measured = _pair_measures(combined(pairs.batch, self.terms), pairs.logps, pairs.reference_logps)
        else:
            unpaired = self._unpaired(policy, rows, statistic)
            measured = _unpaired_measures(combined(unpaired, self.terms), unpaired)
        finite = measured.losses.isfinite().tolist()
        return measured._replace(infinite=[row.row_id for row, fine in zip(rows, finite, strict=True) if not fine])

    def _pairs(self, policy: Policy, pairs: Sequence[PairRow]) -> "_Pairs":
        chosen, rejected = [row.chosen for row in pairs], [row.rejected for row in pairs]
        half = len(pairs)
        prompts = any(method.needs_prompt_nll for method in self.methods)
        with_reference = any(method.spec.needs_reference for method in self.methods)
        tokens = self.weighting == "wpo" or self.ld_alpha < 1.0
        # One forward pass for both sides: half the launches, and alike lengths share padding.
        passed = policy.pass_over([*chosen, *rejected], prompts=prompts, tokens=tokens)
        logps, counts = passed.completions
        reference = _reference([*chosen, *rejected], logps.device) if with_reference else None
        batch = PairLogps(
            logps[:half],
            logps[half:],
            None if reference is None else reference[:half],
            None if reference is None else reference[half:],
            counts[:half],
            counts[half:],
            torch.tensor([row.chosen_better_probability for row in pairs], device=logps.device),
            torch.tensor([row.weight for row in pairs], device=logps.device),
            _mean_nll(passed.completions, passed.prompts, half) if passed.prompts is not None else None,
        )
        return _Pairs(self._adjusted(batch, passed, pairs), logps.detach(), reference)

    def _adjusted(self, batch: PairLogps, passed: ForwardPass, pairs: Sequence[PairRow]) -> PairLogps:
        """The batch as `weighting` and `ld_alpha` have it."""
        if passed.tokens is None:
            return batch
        if self.weighting == "wpo":
            batch = policy_weights(batch, passed.tokens)
        return batch if self.ld_alpha == 1.0 else desensitised(batch, passed.tokens, pairs, self.ld_alpha)

    def _unpaired(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> UnpairedLogps:
        """Log-probs of unpaired rows; of their mismatched partners only where the statistic is not known yet."""
        unpaired = [row for row in rows if isinstance(row, UnpairedRow)]
        partners = [row.mismatched for row in unpaired if row.mismatched is not None] if statistic is None else []
        needs_matched = statistic is not None or not self.method.needs_mismatched
        matched = [row.matched for row in unpaired]
        device = policy.device
        zeros = torch.zeros(len(matched), device=device)
        return UnpairedLogps(
            policy_logps=policy.logps(matched).logps if needs_matched else zeros,
            labels=torch.tensor([row.label for row in unpaired], device=device),
            reference_logps=_reference(matched, device),
            policy_mismatched_logps=policy.logps(partners).logps if partners else zeros[:0],
            reference_mismatched_logps=_reference(partners, device) if partners else zeros[:0],
            reference_point=statistic,
            weights=torch.tensor([row.weight for row in unpaired], device=device),
            desirable_probability=torch.tensor([row.desirable_probability for row in unpaired], device=device),
        )


class _Pairs(NamedTuple):
    """Some pairs: what the methods take of them, and what is logged.

    Attributes:
        batch: As `weighting` and `ld_alpha` have it.
        logps: (2 x pairs,) nats, summed: the policy's, of chosen answers, then of rejected ones; no gradient.
        reference_logps: Likewise the reference's; None where no method takes them.
    """

    batch: PairLogps
    logps: torch.Tensor
    reference_logps: torch.Tensor | None


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


def _of_step(own: Sequence[tuple[Turn, UnpairedLogps]], team: Team, device: torch.device) -> UnpairedLogps:
    """The parts of a step as one, in the parts' order, whichever process computed them."""
    kept = [(turn.place, [getattr(part, name).cpu() for name in _UNPAIRED_FIELDS]) for turn, part in own if turn.counts]
    parts = sorted((part for process in team.gather(kept) for part in process), key=lambda part: part[0])
    return UnpairedLogps(*(torch.cat(tensors).to(device) for tensors in zip(*(part for _, part in parts), strict=True)))


def _reference(sequences: Sequence[TrainingSequence], device: torch.device) -> torch.Tensor:
    return torch.tensor(
        [sequence.reference_logps for sequence in sequences], dtype=torch.float64, device=device
    ).float()


def _pair_measures(output: PairLossOutput, logps: torch.Tensor, reference_logps: torch.Tensor | None) -> Measured:
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
    return Measured(
        output.losses, {name: float(value.sum()) for name, value in values.items()}, dict.fromkeys(values, half)
    )


def _unpaired_measures(output: UnpairedLossOutput, batch: UnpairedLogps) -> Measured:
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

    def refuse_infinite(self) -> None:
        """Let a step go on only where each row's loss is finite.

        Raises:
            TrainingError: Names the rows where it is not.
        """
        if self._infinite:
            raise TrainingError(
                f"train: the loss of {len(self._infinite)} of {self._counts['loss']} rows is not finite (first: "
                f"{', '.join(self._infinite[:3])}). Lower train.learning_rate, or set train.dtype to float32."
            )

    def means(self) -> dict[str, float]:
        """The mean of each metric that any row had."""
        means = {name: self._sums[name] / count for name, count in self._counts.items() if count}
        if "desirable_rewards" in means and "undesirable_rewards" in means:
            means["reward_margin"] = means["desirable_rewards"] - means["undesirable_rewards"]
        return means
