"""What goes into an evaluation and what comes out: settings, one metric, the tidy table's schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .rewards import RewardKind, needs_reference

FloatArray: TypeAlias = NDArray[np.float64]
RowKind: TypeAlias = Literal["pairs", "unpaired"]
CalibrationKind: TypeAlias = Literal["platt", "isotonic"]


class EvaluationError(ValueError):
    """Scored rows or settings that cannot be evaluated; the message says what, how many and which."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How scored rows are read and how sure the numbers are stated to be.

    Attributes:
        beta: Scale of every reward, unitless, > 0. A reward is `beta` times what `reward` names.
        reward: `implicit` is policy logps minus reference logps (DPO, KTO); `mean_implicit` is the same per token
            (length-normalised DPO, IPO); `sum_logps` is policy logps (CPO); `mean_logps` is policy logps per token
            (SimPO, ORPO).
        tie_tolerance: A pair whose absolute margin is at most this is a tie. Reward units, >= 0.
        bootstrap_draws: Resamples of the prompt groups behind each interval, >= 100.
        confidence: Level of every interval, and one minus the level of every test, in (0, 1).
        power: Power at which the minimum detectable effect is stated, in (0, 1).
        seed: Seed of the resampling, >= 0.
        baseline: The model that others are compared with where it is present.
        quantiles: Levels at which the margin's distribution is reported, each in (0, 1).
        calibration_bins: Equal-width confidence bins between 0.5 and 1, >= 1.
        slice_columns: Columns whose values are evaluated apart, in each table that has them.
        small_slice_groups: A slice with fewer prompt groups than this is marked as small, >= 2.
        most_slices: A column of numbers with more values than this is cut into four ranges; of one of text the
            rarest values are put together as one. >= 4.
        reference_answers: Names in the column `response_model` whose answers the reference wrote, or `all` alone: what
            logged evaluation weighs. None of them: nothing is estimated from logged answers.
        least_effective_groups: Effective prompt groups below which logged evaluation refuses to answer, >= 2.
        calibration: What curve makes thumbs-up rates of the thumbs model's scores: `platt` or `isotonic`.
        most_outside: Share of a model's sampled answers, in [0, 1], above which a predicted thumbs-up rate is refused:
            those whose score, length or script lies outside what the calibration saw.
        clip_weights: The greatest weight of a logged answer, > 0; None: no weight is clipped.
    """

    beta: float = 0.1
    reward: RewardKind = "implicit"
    tie_tolerance: float = 0.0
    bootstrap_draws: int = 1000
    confidence: float = 0.95
    power: float = 0.8
    seed: int = 0
    baseline: str = "untrained"
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.75, 0.95)
    calibration_bins: int = 10
    slice_columns: tuple[str, ...] = ()
    small_slice_groups: int = 30
    most_slices: int = 20
    reference_answers: tuple[str, ...] = ()
    least_effective_groups: int = 100
    clip_weights: float | None = None
    calibration: CalibrationKind = "platt"
    most_outside: float = 0.1

    @property
    def needs_reference(self) -> bool:
        """Whether a reward is measured against the reference."""
        return needs_reference(self.reward)

    def __post_init__(self) -> None:
        """Refuse a setting outside its range.

        Raises:
            EvaluationError: naming each setting that is out of range, its value and its range.
        """
        rules = {
            "beta": (0 < self.beta < float("inf"), "above 0 and finite"),
            "reward": (self.reward in get_args(RewardKind), ", ".join(get_args(RewardKind))),
            "tie_tolerance": (0 <= self.tie_tolerance < float("inf"), "at least 0 and finite"),
            "bootstrap_draws": (self.bootstrap_draws >= 100, "at least 100"),
            "confidence": (0 < self.confidence < 1, "between 0 and 1"),
            "power": (0 < self.power < 1, "between 0 and 1"),
            "seed": (self.seed >= 0, "at least 0"),
            "quantiles": (all(0 < level < 1 for level in self.quantiles), "each between 0 and 1"),
            "calibration_bins": (self.calibration_bins >= 1, "at least 1"),
            "small_slice_groups": (self.small_slice_groups >= 2, "at least 2"),
            "most_slices": (self.most_slices >= 4, "at least 4"),
            "calibration": (self.calibration in get_args(CalibrationKind), ", ".join(get_args(CalibrationKind))),
            "most_outside": (0 <= self.most_outside <= 1, "between 0 and 1"),
            "least_effective_groups": (self.least_effective_groups >= 2, "at least 2"),
            "clip_weights": (self.clip_weights is None or 0 < self.clip_weights < float("inf"), "above 0 and finite"),
        }
        bad = [f"{name} is {getattr(self, name)!r}, must be {want}" for name, (good, want) in rules.items() if not good]
        if bad:
            raise EvaluationError("evaluation settings: " + "; ".join(bad))


class Metric(NamedTuple):
    """One number about one model, with its interval and what it rests on.

    Attributes:
        evaluator: Name of the evaluator in the registry.
        version: The evaluator's version: raised whenever a number could change.
        metric: What the number is.
        model: The model it is about.
        compared_with: The other model, for a comparison; None otherwise.
        slice: `column=value` of the part of the rows it is about; None for all rows.
        value: The number; None where the rows do not determine it, never 0.0 by default.
        ci_low: Lower end of the interval; None where no interval can be given.
        ci_high: Upper end of the interval.
        n: Rows behind the number.
        n_groups: Prompt groups behind the number, the units that are resampled.
        unit: Unit of value and interval.
        reason: Why the value or its interval is None, or what to beware of (a small slice). None where there is
            nothing to say.
        standard_error: Clustered by prompt group, in the unit of value; None where none can be given.
        judge: Who judged the answers that it is about; None where it rests on logged answers alone.
    """

    evaluator: str
    version: int
    metric: str
    model: str
    compared_with: str | None
    slice: str | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    n_groups: int
    unit: str
    reason: str | None
    standard_error: float | None = None
    judge: str | None = None


METRICS_SCHEMA: dict[str, type[pl.DataType]] = {
    "evaluator": pl.String,
    "version": pl.Int64,
    "metric": pl.String,
    "model": pl.String,
    "compared_with": pl.String,
    "slice": pl.String,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "n_groups": pl.Int64,
    "unit": pl.String,
    "reason": pl.String,
    "standard_error": pl.Float64,
    "judge": pl.String,
}


@dataclass(frozen=True)
class Estimand:
    """A number that is a formula over sums of groups: what the bootstrap needs to give it an interval.

    Attributes:
        evaluator: Name of the evaluator.
        version: Version of the evaluator.
        metric: What the number is.
        model: The model it is about.
        unit: Its unit.
        columns: The sums over the units of resampling that the formula reads: each (units,) float.
        formula: Totals (..., len(columns)) -> values (...), unchanged when all totals grow by one factor. NaN where
            the totals do not determine a value.
        n: Rows behind the number.
        n_groups: Prompt groups behind the number.
        fewest: Prompt groups behind the part of it with the fewest (the rarer class, say), which is what the
            interval is only as sure as.
        compared_with: The other model of a comparison.
        slice: `column=value` of the part of the rows.
        undefined: The reason given when the formula gives NaN for all rows.
        proportion: True for a share of rows, in [0, 1]: at its ends the interval is exact, because a resample of groups
            that all agree never varies, and near them it is as wide as Wilson's at least.
        note: What the reader must know of the number: the metric's `reason` where it has none of its own.
        judge: Who judged the answers that it is about.
        also: (draws,) what another source of uncertainty, independent of the units, adds to the number in each draw:
            a calibration that was fitted on other rows. NaN where it adds no number. None for no other source.
    """

    evaluator: str
    version: int
    metric: str
    model: str
    unit: str
    columns: Sequence[NDArray[np.floating]]
    formula: Callable[[FloatArray], FloatArray]
    n: int
    n_groups: int
    fewest: int
    compared_with: str | None = None
    slice: str | None = None
    undefined: str = "no rows"
    proportion: bool = False
    note: str | None = None
    judge: str | None = None
    also: FloatArray | None = None


Draft: TypeAlias = Estimand | Metric


class EvaluatorSpec(NamedTuple):
    """One evaluator in the registry.

    Attributes:
        rows: Which scored table it reads.
        drafts: (scores of each model, settings) -> metrics, and estimands still to be given intervals. `evaluate`
            collects the drafts of all evaluators, so that the groups are resampled once.
        version: Raised whenever a number could change.
        headline: The metric that is reported as None when there are no rows at all.
        description: One line for people.
    """

    rows: RowKind
    drafts: Callable[..., list[Draft]]
    version: int
    headline: str
    description: str
