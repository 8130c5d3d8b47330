"""The temperature at which sigma(margin / T) fits the labels best, with its interval."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from .estimands import ONE_GROUP, Source
from .types import EvaluationSettings, FloatArray, Metric
from .uncertainty import clustered_error, t_quantile

# The search covers factors of e^-30 to e^30 of one over the mean size of a margin: beyond it, rounding decides.
_REACH = 30.0
_BEYOND = "no temperature within e^30 of the margins' size is best"


def temperature(source: Source, margins: FloatArray, settings: EvaluationSettings) -> Metric:
    """T that minimises the log loss of sigma(margin / T): above 1 the margins are too sure, below 1 too timid.

    The interval is that of log T, from the sandwich variance clustered by group. Source: Guo et al. (2017) for T;
    Liang and Zeger (1986) for the variance of an estimate that solves an equation of row sums.
    """
    refusal = _no_optimum(margins)
    inverse = None if refusal else _best_inverse(margins)
    if inverse is None:
        return source.metric("temperature", None, "ratio", refusal or _BEYOND)
    error = _relative_error(source, margins, inverse)
    if error is None:
        return source.metric("temperature", 1.0 / inverse, "ratio", ONE_GROUP)
    reach = t_quantile(0.5 + settings.confidence / 2, source.groups.present()) * error
    with np.errstate(over="ignore"):
        low, high = float(np.exp(-reach) / inverse), float(np.exp(reach) / inverse)
    if not np.isfinite(high):
        reason = "no interval: the margins do not determine the temperature to any factor"
        return source.metric("temperature", 1.0 / inverse, "ratio", reason)
    return source.metric(
        "temperature", 1.0 / inverse, "ratio", ci_low=low, ci_high=high, standard_error=error / inverse
    )


def _no_optimum(margins: FloatArray) -> str | None:
    if not np.any(margins > 0) or not np.any(margins < 0):
        return "margins all have one sign or are ties, so no finite temperature is best"
    if float(margins.mean()) <= 0:
        return "the mean margin is not above 0, so the best temperature is infinite"
    return None


def _best_inverse(margins: FloatArray) -> float | None:
    """1/T at which the slope of the log loss is 0; the loss is convex in 1/T, so there is one place at most."""
    start = -np.log(float(np.abs(margins).mean()))

    def slope(log_inverse: float) -> float:
        return -float(np.mean(margins * special.expit(-np.exp(log_inverse) * margins)))

    if slope(start - _REACH) >= 0 or slope(start + _REACH) <= 0:
        return None
    return float(np.exp(optimize.brentq(slope, start - _REACH, start + _REACH, xtol=1e-10)))


def _relative_error(source: Source, margins: FloatArray, inverse: float) -> float | None:
    """Standard error of 1/T over 1/T, which is that of log T."""
    wrong = special.expit(-inverse * margins)
    curvature = float(np.mean(margins**2 * wrong * (1.0 - wrong)))
    error = clustered_error(margins * wrong / margins.shape[0], source.groups)
    if error is None:
        return None
    return np.inf if curvature == 0 else error / curvature / inverse
