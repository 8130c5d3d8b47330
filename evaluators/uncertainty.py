"""The only resampling code: intervals from a bootstrap of prompt groups, and standard errors clustered by group.

Rows of one prompt share what makes the prompt easy or hard, so groups are resampled, never rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from evaluators.scores import Groups
from evaluators.types import Estimand, EvaluationSettings, FloatArray, Metric

# More groups than this are first merged, at random and evenly, into this many sets, and whole sets are resampled.
# Variance and skewness of the totals stay the same in expectation; the width of an interval gets an error of about
# 1 / sqrt(2 * sets), 0.7%, beside the 2% that 1,000 draws leave anyway. It bounds time for any number of groups.
MOST_SETS = 10_000
# Resampled group counts held at a time, in numbers: 64 MiB.
_BLOCK_NUMBERS = 8_000_000
_ONE_GROUP = "one prompt group: no interval can be given"
# Above this share of resamples that hold none of what the number is about, those that do are not a fair sample.
_MOST_UNDEFINED = 0.05


def group_totals(columns: FloatArray, draws: int, generator: np.random.Generator) -> FloatArray:
    """Column totals of resamples of the groups, or of random sets of very many groups, with replacement.

    Args:
        columns: (groups, columns) sums of each group.
        draws: How many resamples.
        generator: Source of randomness.

    Returns:
        (draws, columns) totals.
    """
    if columns.shape[0] > MOST_SETS:
        columns = _merged(columns, generator)
    groups = columns.shape[0]
    totals = np.empty((draws, columns.shape[1]))
    block = max(1, _BLOCK_NUMBERS // max(groups, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        picks = generator.integers(groups, size=(size, groups))
        offsets = picks + (np.arange(size) * groups)[:, None]
        counts = np.bincount(offsets.ravel(), minlength=size * groups).reshape(size, groups)
        totals[start : start + size] = counts.astype(np.float64) @ columns
    return totals


def _merged(columns: FloatArray, generator: np.random.Generator) -> FloatArray:
    """(sets, columns) sums over random sets of groups whose sizes differ by one group at most."""
    number = generator.permutation(columns.shape[0]) % MOST_SETS
    return np.column_stack([np.bincount(number, weights=column) for column in columns.T])


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
    metrics, place = [], 0
    for estimand in estimands:
        part = slice(place, place + len(estimand.columns))
        place = part.stop
        metrics.append(_metric(estimand, columns[:, part], whole[part], resampled[:, part], settings))
    return metrics


def _apply(estimand: Estimand, totals: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(estimand.formula(totals), dtype=np.float64)


def _metric(
    estimand: Estimand, columns: FloatArray, whole: FloatArray, resampled: FloatArray, settings: EvaluationSettings
) -> Metric:
    value = float(_apply(estimand, whole))
    draws = _apply(estimand, resampled)
    groups = int((np.abs(columns).sum(axis=1) > 0).sum())
    reason = estimand.note
    low: float | None
    high: float | None
    if np.isnan(value):
        return _named(estimand, None, None, None, groups, estimand.undefined)
    low = high = None
    if groups < 2:
        reason = _ONE_GROUP
    elif estimand.proportion and value in (0.0, 1.0):
        # The part with the fewest groups is the one that the share is least sure of.
        fewest = int((columns[:, 1::2] > 0).sum(axis=0).min())
        low, high = exact_share(value, fewest, settings.confidence)
    else:
        defined = draws[np.isfinite(draws)]
        refusal = _no_interval(defined, draws.shape[0])
        if refusal is None:
            low, high = _percentiles(value, defined, groups, settings.confidence, basic=estimand.basic)
        reason = "; ".join(words for words in (reason, refusal) if words) or None
    return _named(estimand, value, low, high, groups, reason)


def _no_interval(defined: FloatArray, draws: int) -> str | None:
    """Why resampling says nothing of the spread; None where it does."""
    if defined.shape[0] < (1.0 - _MOST_UNDEFINED) * draws:
        return f"no interval: {draws - defined.shape[0]:,} of {draws:,} resamples do not determine the number"
    if float(np.ptp(defined)) <= 1e-12 * max(1.0, float(np.abs(defined).max())):
        return "no interval: all prompt groups agree, so resampling them shows no spread"
    return None


def _percentiles(
    value: float, draws: FloatArray, groups: int, confidence: float, *, basic: bool
) -> tuple[float, float]:
    """Percentiles of the draws, further out where groups are few.

    Source: Hesterberg (2015), "What teachers should know about the bootstrap", the expanded percentile interval: it
    makes up for the factor (G - 1) / G in the bootstrap variance and for the normal where a t is due.
    """
    reach = stats.t.ppf(0.5 + confidence / 2.0, groups - 1) * np.sqrt(groups / (groups - 1))
    tail = float(stats.norm.cdf(-reach))
    low, high = (float(bound) for bound in np.quantile(draws, [tail, 1.0 - tail]))
    return (2.0 * value - high, 2.0 * value - low) if basic else (low, high)


def exact_share(share: float, groups: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of 0 or 1 over groups that all agree; resampling them never varies."""
    bound = (1.0 - confidence) / 2.0
    edge = float(bound ** (1.0 / groups))
    return (edge, 1.0) if share == 1.0 else (0.0, 1.0 - edge)


def clustered_error(influence: FloatArray, groups: Groups) -> float | None:
    """Standard error of a mean-like statistic from each row's influence on it; None with fewer than two groups.

    Args:
        influence: (rows,) influence of each row, summing to about 0, already divided by the number of rows.
        groups: Prompt groups.

    Source: Liang and Zeger (1986), with the small-sample factor G / (G - 1).
    """
    present = groups.present()
    if present < 2:
        return None
    sums = groups.sums(influence)
    return float(np.sqrt(present / (present - 1) * np.sum(sums**2)))


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    return float(stats.norm.ppf(probability))


def _named(
    estimand: Estimand, value: float | None, low: float | None, high: float | None, groups: int, reason: str | None
) -> Metric:
    return Metric(
        estimand.evaluator,
        estimand.version,
        estimand.metric,
        estimand.model,
        estimand.compared_with,
        estimand.slice,
        value,
        low,
        high,
        estimand.n,
        groups,
        estimand.unit,
        reason,
    )
