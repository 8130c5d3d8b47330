"""Length-controlled win rate: the win rate that a logistic model gives to answers of one length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from .estimands import ONE_GROUP
from .groups import Groups
from .types import EvaluationSettings, FloatArray
from .uncertainty import LEAST_ERROR, clustered_error, t_quantile

_STEPS = 60
# Log odds beyond this are no estimate: the fit runs away where length tells all winners from all losers.
_MOST_LOG_ODDS = 25.0


class LengthControlled(NamedTuple):
    """A win rate at equal lengths.

    Attributes:
        value: The win rate, in [0, 1]; None where the verdicts do not determine it.
        ci_low: Lower end of the interval; None where there is none.
        ci_high: Upper end.
        standard_error: Clustered by group; None where there is none.
        reason: Why there is no value or no interval.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    standard_error: float | None = None
    reason: str | None = None


def length_controlled(
    preferences: FloatArray,
    length_differences: FloatArray,
    weights: FloatArray,
    groups: Groups,
    settings: EvaluationSettings,
) -> LengthControlled:
    """The win rate over answers of one length, from log odds of `quality + slope * tanh(difference / its spread)`.

    Args:
        preferences: (pairs,) 1 where the model's answer is better, 0 where the other is; shares between.
        length_differences: (pairs,) characters of the model's answer less those of the other.
        weights: (pairs,) what each pair counts.
        groups: Prompt groups of the pairs.
        settings: Confidence.

    Source: Dubois et al. (2024), "Length-controlled AlpacaEval", equation 2. Their third term, the difficulty of each
    instruction, comes from their own file and is left out, and so are the penalty and the answers of two padded
    models that hold their weights small: this is the plain maximum of the likelihood. The interval is Student's, of
    the log odds, from the sandwich variance clustered by group; the spread of the differences is taken as known.
    """
    if not preferences.size:
        return LengthControlled(None, reason="no judged pair")
    if bool(np.all(preferences == preferences[0])) and preferences[0] in (0.0, 1.0):
        return LengthControlled(None, reason="one model wins every comparison: no log odds fit that")
    design = _design(length_differences)
    fitted = _fitted(design, preferences, weights)
    if fitted is None:
        return LengthControlled(None, reason="length tells all winners from all losers: quality cannot be told from it")
    value = float(special.expit(fitted[0]))
    error = _log_odds_error(design, preferences, weights, fitted, groups)
    if error is None:
        return LengthControlled(value, reason=ONE_GROUP)
    if error < LEAST_ERROR:
        return LengthControlled(value, reason="no interval: all prompt groups agree, so they show no spread")
    reach = t_quantile(0.5 + settings.confidence / 2, groups.present()) * error
    low, high = (float(special.expit(fitted[0] + side * reach)) for side in (-1.0, 1.0))
    return LengthControlled(value, low, high, value * (1.0 - value) * error)


def _design(differences: FloatArray) -> FloatArray:
    """(pairs, 1 or 2): ones, and the squashed differences where there are any."""
    ones = np.ones(differences.shape[0])
    spread = float(np.std(differences, ddof=1)) if differences.shape[0] > 1 else 0.0
    return np.column_stack([ones, np.tanh(differences / spread)]) if spread > 0 else ones[:, None]


def _fitted(design: FloatArray, preferences: FloatArray, weights: FloatArray) -> FloatArray | None:
    """Coefficients of the likelihood's maximum by Newton's method; None where there is none."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = special.expit(design @ coefficients)
        slope = design.T @ (weights * (preferences - chance))
        curvature = (design * (weights * chance * (1.0 - chance))[:, None]).T @ design
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, slope)
        coefficients = coefficients + step
        if np.abs(coefficients).sum() > _MOST_LOG_ODDS:
            return None
        if float(np.abs(step).max()) < 1e-10:
            return np.asarray(coefficients)
    return None


def _log_odds_error(
    design: FloatArray, preferences: FloatArray, weights: FloatArray, coefficients: FloatArray, groups: Groups
) -> float | None:
    chance = special.expit(design @ coefficients)
    curvature = (design * (weights * chance * (1.0 - chance))[:, None]).T @ design
    influence = (design * (weights * (preferences - chance))[:, None]) @ np.linalg.inv(curvature)[:, 0]
    return clustered_error(influence, groups)
