"""Training rows to a loss: forward pass, the method's function, and what is logged of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

import torch

from thumbline.losses import (
    Method,
    PairLogps,
    Term,
    UnpairedLogps,
    combined,
    loss_method,
)
from thumbline.losses.logps import SequenceLogps, TokenLogps
from thumbline.losses.running import MovingMoments, RunningMean

from ..config import TrainConfig
from .adjustments import Bounds, clipped_logps, desensitised, policy_weights
from .batches import micro_batches, row_draws
from .measured import Measured, pair_measures, unpaired_measures
from .methods import terms
from .parallel.dealing import deal
from .parallel.team import ALONE, Team
from .policy import Policy
from .rows import PairRow, Row, TrainingSequence, UnpairedRow
from .scorer import ForwardPass
from .unpaired import of_step, partners_of, reference_of, unpaired_batch, with_partners


@dataclass(frozen=True)
class Objective:
    """What is trained: methods whose losses are added up, and how many rows a forward pass takes.

    Attributes:
        terms: The method, whose rewards and value over the step are used, then those added to it.
        micro_batch_rows: Most rows a forward pass.
        weighting: Whether pairs are weighed by how likely the policy is to write them (`wpo`).
        ld_alpha: Weight of tokens beyond a pair's shorter completion, in [0, 1].
        bounds: What each token's log-ratio to the reference is clipped to; None for nothing.
        micro_batch_tokens: Most tokens a forward pass; None for any number.
        seen: Log-ratios of all rows trained on before, for a value over the step that goes on over the run.
        point: The value over the step where it is known; None where the step's rows give it.
        seen_margins: Margins of all pairs trained on before, for a method that follows them.
        seed: Of draws by which a method leaves out pairs.
        trained_rows: Rows trained on before, by which steps draw differently; None where nothing is drawn.
    """

    terms: tuple[Term, ...]
    micro_batch_rows: int
    weighting: Literal["none", "wpo"] = "none"
    ld_alpha: float = 1.0
    bounds: Bounds | None = None
    micro_batch_tokens: int | None = None
    seen: RunningMean | None = None
    point: float | None = None
    seen_margins: MovingMoments | None = None
    seed: int = 0
    trained_rows: int | None = None

    section: ClassVar[str] = "train"

    @property
    def ties_untrained(self) -> bool:
        """Whether the untrained policy, which is the reference where there is one, ties on every row."""
        return self.method.spec.needs_reference

    @property
    def takes_whole_steps(self) -> bool:
        """Whether a row's loss depends on its batch."""
        return any(method.takes_whole_steps for method in self.methods)

    @cached_property
    def methods(self) -> list[Method]:
        """The terms' methods."""
        return [loss_method(term.method, term.settings) for term in self.terms]

    @property
    def method(self) -> Method:
        """The first term's."""
        return self.methods[0]

    def after(self, log: Sequence[tuple[int, str, str, float]], rows: int) -> "Objective":
        """The same after some steps: with a value that goes on over the run where one was left by them.

        Args:
            log: Step, phase, metric and value; what a checkpoint keeps is enough to go on to the same bits.
            rows: Rows that were trained on.
        """
        if not self.method.statistic_runs:
            return self
        if self.method.spec.paired:
            return replace(self, seen_margins=_margins_in(log), trained_rows=rows)
        points = (value for _, phase, metric, value in reversed(log) if (phase, metric) == ("train", "reference_point"))
        last = next(points, None)
        return self if last is None else replace(self, seen=RunningMean(last, rows))

    def held_out(self) -> "Objective":
        """The same on rows that are not trained on: they leave a value that goes on over the run alone."""
        kept = replace(self, trained_rows=None)
        return kept if self.seen is None else replace(kept, point=self.seen.mean)

    def parts(self, policy: Policy, rows: Sequence[Row]) -> list[list[Row]]:
        """A step's rows by forward passes."""
        return micro_batches(rows, self.micro_batch_rows, self.micro_batch_tokens, policy.layout)

    def step_statistic(self, policy: Policy, rows: Sequence[Row], team: Team = ALONE) -> torch.Tensor | None:
        """The value over all rows of a step that each part of it needs (KTO's z0).

        None for other methods, and where a part finds the value itself in its own forward pass: where it is set to, and
        where it is the whole step.

        Args:
            policy: The model.
            rows: All rows of the step, in every process.
            team: The processes that share them; each calls this, and gets the same.
        """
        if self.point is not None:
            return torch.tensor(self.point, device=policy.device)
        parts = self.parts(policy, rows)
        if self.method.spec.step_statistic is None or self._finds_its_own(len(parts), team):
            return None
        if team.is_several and self.method.needs_mismatched:
            # Each turn is a forward pass in every process: a part without a partner would have none.
            partnered = [row for row in rows if isinstance(row, UnpairedRow) and row.mismatched is not None]
            parts = self.parts(policy, partnered or rows)
        with torch.no_grad():
            own = [(turn, self._for_statistic(policy, turn.rows)) for turn in deal(parts, team.rank, team.size)]
            step = replace(of_step(own, team, policy.device), seen=self.seen)
            return self.method.spec.step_statistic(step, self.method.config)

    def _finds_its_own(self, parts: int, team: Team) -> bool:
        return self.method.statistic_of_parts or (parts == 1 and not team.is_several)

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> Measured:
        """Losses and rewards of rows that fit in one forward pass."""
        if self.method.spec.paired:
            pairs = self._pairs(policy, [row for row in rows if isinstance(row, PairRow)])
            measured = pair_measures(combined(pairs.batch, self.terms), pairs.logps, pairs.reference_logps)
        else:
            unpaired = self._unpaired(policy, rows, statistic)
            measured = unpaired_measures(combined(unpaired, self.terms), unpaired)
        finite = measured.losses.isfinite().tolist()
        return measured._replace(infinite=[row.row_id for row, fine in zip(rows, finite, strict=True) if not fine])

    def described(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> list[str]:
        """Each sequence's log-prob, and that under the reference where it is known."""
        with torch.no_grad():
            logps = policy.logps(sequences).logps.tolist()
        stored = [sequence.reference_logps for sequence in sequences]
        return [
            f"{own:.4g} nats" + ("" if reference is None else f", {reference:.4g} under the reference")
            for own, reference in zip(logps, stored, strict=True)
        ]

    def _pairs(self, policy: Policy, pairs: Sequence[PairRow]) -> "_Pairs":
        chosen, rejected = [row.chosen for row in pairs], [row.rejected for row in pairs]
        half = len(pairs)
        prompts = any(method.needs_prompt_nll for method in self.methods)
        with_reference = any(method.spec.needs_reference for method in self.methods)
        tokens = self.weighting == "wpo" or self.ld_alpha < 1.0 or self.bounds is not None
        # One forward pass for both sides: half the launches, and alike lengths share padding.
        passed = policy.pass_over([*chosen, *rejected], prompts=prompts, tokens=tokens)
        logps, counts = passed.completions
        reference = reference_of([*chosen, *rejected], logps.device) if with_reference else None
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
            None if self.trained_rows is None else row_draws(half, self.seed, self.trained_rows).to(logps.device),
            self.seen_margins,
        )
        return _Pairs(self._adjusted(batch, passed, pairs), logps.detach(), reference)

    def _adjusted(self, batch: PairLogps, passed: ForwardPass, pairs: Sequence[PairRow]) -> PairLogps:
        """The batch as `weighting` and `ld_alpha` have it."""
        if passed.tokens is None:
            return batch
        if self.bounds is not None:
            sides = [*(row.chosen for row in pairs), *(row.rejected for row in pairs)]
            chosen, rejected = clipped_logps(passed.tokens, sides, self.bounds).chunk(2)
            batch = replace(batch, policy_chosen_logps=chosen, policy_rejected_logps=rejected)
        if self.weighting == "wpo":
            batch = policy_weights(batch, passed.tokens)
        return batch if self.ld_alpha == 1.0 else desensitised(batch, passed.tokens, pairs, self.ld_alpha)

    def _unpaired(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> UnpairedLogps:
        """Log-probs of unpaired rows from one forward pass; where the statistic is not known, all that it takes too."""
        unpaired = [row for row in rows if isinstance(row, UnpairedRow)]
        partners = partners_of(unpaired) if statistic is None and self.method.needs_mismatched else []
        matched = [row.matched for row in unpaired]
        passed = policy.pass_over(matched, partners=partners, tokens=self.bounds is not None)
        reference = any(method.spec.needs_reference for method in self.methods)
        logps = self._clipped(passed.completions, passed.tokens, matched)
        batch = replace(unpaired_batch(unpaired, logps, statistic, reference=reference), seen=self.seen)
        if passed.partners is None:
            return batch
        return with_partners(batch, self._clipped(passed.partners, passed.partner_tokens, partners), partners)

    def _clipped(
        self, logps: SequenceLogps, tokens: TokenLogps | None, sequences: Sequence[TrainingSequence]
    ) -> torch.Tensor:
        """Log-probs as `bounds` have them."""
        if self.bounds is None or tokens is None:
            return logps.logps
        return clipped_logps(tokens, sequences, self.bounds)

    def _alone(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> torch.Tensor:
        """Log-probs of sequences from a pass of their own, as `bounds` have them."""
        passed = policy.pass_over(sequences, tokens=self.bounds is not None)
        return self._clipped(passed.completions, passed.tokens, sequences)

    def _for_statistic(self, policy: Policy, rows: Sequence[Row]) -> UnpairedLogps:
        """What the step's statistic takes of some rows: partners' log-probs where it is estimated from them alone."""
        unpaired = [row for row in rows if isinstance(row, UnpairedRow)]
        if not self.method.needs_mismatched:
            return unpaired_batch(unpaired, self._alone(policy, [row.matched for row in unpaired]), None)
        partners, unknown = partners_of(unpaired), torch.zeros(len(unpaired), device=policy.device)
        logps = self._alone(policy, partners) if partners else unknown[:0]
        return with_partners(unpaired_batch(unpaired, unknown, None), logps, partners)


def objective_of(config: TrainConfig, desirable: int, undesirable: int) -> Objective:
    """What a run trains.

    Args:
        config: Methods, and how a step is cut.
        desirable: Training rows of this class; of pairs, all.
        undesirable: Likewise.

    Raises:
        ConfigError: A method or one of its hyper-parameters is unknown or out of range.
    """
    return Objective(
        tuple(terms(config, desirable, undesirable)),
        config.micro_batch_rows,
        weighting=config.weighting,
        ld_alpha=config.ld_alpha,
        bounds=_bounds(config),
        micro_batch_tokens=config.micro_batch_tokens,
        seed=config.seed,
    )


def _bounds(config: TrainConfig) -> Bounds | None:
    if not config.clips_ratios:
        return None
    floor = -math.inf if config.ratio_floor is None else config.ratio_floor
    return Bounds(floor, math.inf if config.ratio_ceiling is None else config.ratio_ceiling)


def _margins_in(log: Sequence[tuple[int, str, str, float]]) -> MovingMoments | None:
    """The moments that the last logged step left; None where there is none."""
    last: dict[str, float] = {}
    for _, phase, metric, value in reversed(log):
        if phase == "train" and metric in ("margin_mean", "margin_deviation"):
            last.setdefault(metric, value)
        if len(last) == 2:
            return MovingMoments(last["margin_mean"], last["margin_deviation"])
    return None


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


def _mean_nll(completions: SequenceLogps, prompts: SequenceLogps, rows: int) -> torch.Tensor:
    """(rows,) mean negative log-likelihood a token over prompt and completion of the first `rows` sequences."""
    tokens = (completions.token_counts + prompts.token_counts)[:rows].clamp(min=1)
    return -(completions.logps + prompts.logps)[:rows] / tokens
