"""The only resampling code: intervals from a bootstrap of prompt groups, and standard errors clustered by group.

Rows of one prompt share what makes the prompt easy or hard, so groups are resampled, never rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from .estimands import ONE_GROUP, ONE_GROUP_OF_A_KIND
from .groups import Groups
from .types import Estimand, EvaluationSettings, FloatArray, Metric

# A standard error below this is rounding.
LEAST_ERROR = 1e-12
# Resampled counts of units held at a time, in numbers: 16 MiB.
_BLOCK_NUMBERS = 2_000_000
# Above this share of resamples that hold none of what the number is about, those that do are not a fair sample.
_MOST_UNDEFINED = 0.05
# Relative step of a numerical derivative: the cube root of a float's precision is best for central differences.
_STEP = 6e-6


def group_totals(columns: FloatArray, draws: int, generator: np.random.Generator) -> FloatArray:
    """Column totals of resamples of the units (groups, or sets of very many), with replacement.

    Args:
        columns: (units, columns) sums of each unit.
        draws: How many resamples.
        generator: Source of randomness.

    Returns:
        (draws, columns) totals.
    """
    columns = exactly_summed(columns)
    return np.concatenate([counts @ columns for counts in resampled_counts(columns.shape[0], draws, generator)])


def resampled_counts(units: int, draws: int, generator: np.random.Generator) -> Iterator[FloatArray]:
    """How often each unit is in each resample, with replacement: blocks of draws, each (draws of the block, units)."""
    block = max(1, _BLOCK_NUMBERS // max(units, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        picks = generator.integers(units, size=(size, units))
        picks += (np.arange(size) * units)[:, None]
        yield np.bincount(picks.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def exactly_summed(columns: FloatArray) -> FloatArray:
    """The columns rounded to a grid on which sums over any resample are exact, in whatever order they are added.

    A product of matrices adds in an order that depends on the number of threads, which would move the last digits of
    an interval. With `units` draws of a unit a sum is at most units times the greatest entry; 2^52 grid steps for that
    leave an entry 12 digits of the greatest, far below the noise of resampling.

    Args:
        columns: (units, columns) sums of each unit.
    """
    most = columns.shape[0] * np.abs(columns).max(axis=0, initial=0.0)
    step = np.ldexp(1.0, np.maximum(np.frexp(most)[1] - 52, -1074))
    return np.asarray(np.rint(columns / step) * step)


def intervals(estimands: Sequence[Estimand], settings: EvaluationSettings) -> list[Metric]:
    """Each estimand's value on all rows, with a percentile interval from one resampling shared by all.

    Sharing it keeps differences between models paired: each draw holds the same groups for every model.

    Args:
        estimands: All of one table, so that their group sums have the same length.
        settings: Draws, confidence and seed.
    """
    if not estimands:
        return []
    columns = np.column_stack([column for estimand in estimands for column in estimand.columns])
    generator = np.random.default_rng(settings.seed)
    resampled = group_totals(columns, settings.bootstrap_draws, generator)
    whole = columns.sum(axis=0)
    metrics, start = [], 0
    for estimand in estimands:
        part = slice(start, start + len(estimand.columns))
        start = part.stop
        metrics.append(_metric(estimand, columns[:, part], whole[part], resampled[:, part], settings))
    return metrics


def _apply(estimand: Estimand, totals: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(estimand.formula(totals), dtype=np.float64)


def _metric(
    estimand: Estimand, columns: FloatArray, whole: FloatArray, resampled: FloatArray, settings: EvaluationSettings
) -> Metric:
    value = float(_apply(estimand, whole))
    if np.isnan(value):
        return _named(estimand, None, _NOTHING, estimand.undefined)
    if estimand.fewest < 2:
        refusal = ONE_GROUP if estimand.n_groups < 2 else ONE_GROUP_OF_A_KIND
        return _named(estimand, value, _NOTHING, _together(estimand.note, refusal))
    error = _error(estimand, columns, whole)
    if estimand.proportion and estimand.also is None and value in (0.0, 1.0):
        # The part with the fewest groups is the one that the share is least sure of.
        ends = exact_share(value, estimand.fewest, settings.confidence)
        return _named(estimand, value, _Spread(*ends, None), estimand.note)
    draws = _apply(estimand, resampled) + (0.0 if estimand.also is None else estimand.also)
    defined = draws[np.isfinite(draws)]
    unknown = no_spread(defined, draws.shape[0])
    if unknown is not None:
        return _named(estimand, value, _NOTHING, _together(estimand.note, unknown))
    low, high = percentiles(defined, estimand.fewest, settings.confidence)
    if estimand.proportion and error and 0.0 < value < 1.0:
        wilson_low, wilson_high = wilson_share(value, error, estimand.fewest, settings.confidence)
        low, high = min(low, wilson_low), max(high, wilson_high)
    if estimand.proportion:
        low, high = max(low, 0.0), min(high, 1.0)
    return _named(estimand, value, _Spread(low, high, error), estimand.note)


class ValueAndError(NamedTuple):
    """An estimand's value and its standard error, from all its sources of uncertainty."""

    value: float
    error: float


def value_and_error(estimand: Estimand) -> ValueAndError | None:
    """What a test of an estimand reads; None where its groups are too few, or the rows do not determine it."""
    columns = np.column_stack(list(estimand.columns))
    whole = columns.sum(axis=0)
    value = float(_apply(estimand, whole))
    error = None if np.isnan(value) or estimand.fewest < 2 else _error(estimand, columns, whole)
    return None if error is None else ValueAndError(value, error)


def _error(estimand: Estimand, columns: FloatArray, whole: FloatArray) -> float | None:
    error = _linear_error(estimand, columns, whole)
    if estimand.also is None or error is None:
        return error
    return float(np.hypot(error, np.nanstd(estimand.also)))


class _Spread(NamedTuple):
    low: float | None
    high: float | None
    error: float | None


_NOTHING = _Spread(None, None, None)


def _together(*reasons: str | None) -> str:
    return "; ".join(reason for reason in reasons if reason)


def _linear_error(estimand: Estimand, columns: FloatArray, whole: FloatArray) -> float | None:
    """Standard error from what each unit adds to the number to first order.

    The formula is unchanged when all totals grow by one factor, so that a unit's influence is the slope of the formula
    times the unit's sums, and influences sum to 0. Source: Liang and Zeger (1986), with the factor G / (G - 1).
    """
    sizes = np.abs(columns).max(axis=0)
    slope = np.zeros(whole.shape[0])
    for column in np.flatnonzero(sizes):
        step = np.zeros_like(whole)
        step[column] = _STEP * max(abs(float(whole[column])), float(sizes[column]))
        ends = _apply(estimand, np.stack([whole + step, whole - step]))
        slope[column] = (ends[0] - ends[1]) / (2.0 * step[column])
    error = float(np.sqrt(estimand.fewest / (estimand.fewest - 1) * np.sum((columns * slope).sum(axis=1) ** 2)))
    return error if np.isfinite(error) else None


def no_spread(defined: FloatArray, draws: int) -> str | None:
    """Why resampling says nothing of the spread; None where it does."""
    if defined.shape[0] < (1.0 - _MOST_UNDEFINED) * draws:
        return f"no interval: {draws - defined.shape[0]:,} of {draws:,} resamples do not determine the number"
    if float(np.ptp(defined)) <= 1e-12 * max(1.0, float(np.abs(defined).max())):
        return "no interval: all prompt groups agree, so resampling them shows no spread"
    return None


def percentiles(draws: FloatArray, groups: int, confidence: float) -> tuple[float, float]:
    """Percentiles of the draws, further out where groups are few.

    Source: Hesterberg (2015), "What teachers should know about the bootstrap", the expanded percentile interval: it
    makes up for the factor (G - 1) / G in the bootstrap variance and for the normal where a t is due.
    """
    reach = t_quantile(0.5 + confidence / 2.0, groups) * np.sqrt(groups / (groups - 1))
    tail = float(special.ndtr(-reach))
    low, high = (float(bound) for bound in np.quantile(draws, [tail, 1.0 - tail]))
    return low, high


def exact_share(share: float, groups: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of 0 or 1 over groups that all agree; resampling them never varies."""
    bound = (1.0 - confidence) / 2.0
    edge = float(bound ** (1.0 / groups))
    return (edge, 1.0) if share == 1.0 else (0.0, 1.0 - edge)


def wilson_share(share: float, error: float, groups: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share over as many independent rows as would have this standard error.

    Resampling can draw only the mistakes that were seen: near 0 and 1, where they are few, its interval alone is too
    narrow. Source: Wilson (1927); Korn and Graubard (1998) for the effective number of rows, with Student's t.
    """
    reach = t_quantile(0.5 + confidence / 2.0, groups)
    per_row = reach**2 * error**2 / (share * (1.0 - share))  # reach squared over the effective number of rows
    middle = (share + per_row / 2.0) / (1.0 + per_row)
    half = np.sqrt(share * (1.0 - share) * per_row + per_row**2 / 4.0) / (1.0 + per_row)
    return float(middle - half), float(middle + half)


def clustered_error(influence: FloatArray, groups: Groups, fewest: int | None = None) -> float | None:
    """Standard error of a mean-like statistic from each row's influence on it; None with fewer than two groups.

    Args:
        influence: (rows,) influence of each row, summing to about 0, already divided by the number of rows.
        groups: Prompt groups.
        fewest: Groups behind the part of the statistic with the fewest; None for all groups.

    Source: Liang and Zeger (1986), with the small-sample factor G / (G - 1).
    """
    present = groups.present() if fewest is None else fewest
    if present < 2:
        return None
    sums = groups.sums(influence)
    return float(np.sqrt(present / (present - 1) * np.sum(sums**2)))


def t_quantile(probability: float, groups: int) -> float:
    """Quantile of Student's t with one degree of freedom less than there are groups, at least 2."""
    return float(special.stdtrit(groups - 1, probability))


def _named(estimand: Estimand, value: float | None, spread: _Spread, reason: str | None) -> Metric:
    return Metric(
        evaluator=estimand.evaluator,
        version=estimand.version,
        metric=estimand.metric,
        model=estimand.model,
        compared_with=estimand.compared_with,
        slice=estimand.slice,
        value=value,
        ci_low=spread.low,
        ci_high=spread.high,
        n=estimand.n,
        n_groups=estimand.n_groups,
        unit=estimand.unit,
        reason=reason,
        standard_error=spread.error,
        judge=estimand.judge,
    )
