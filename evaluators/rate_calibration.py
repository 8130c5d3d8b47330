"""Scores to rates: what share of answers with a judge's score get a thumbs-up, fitted on labelled answers.

`platt` is a logistic curve of two numbers, `isotonic` any rising one; both are monotone, so that they move no AUC.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from scipy import optimize, special

from .types import CalibrationKind, FloatArray

# Below this, two more votes would move a curve of two numbers as much as all that were seen of a kind.
LEAST_OF_EACH: Final = 5
_NEWTON_STEPS: Final = 100
_HALVINGS: Final = 40
_PRECISION: Final = 1e-10


@dataclass(frozen=True)
class Calibration:
    """A monotone curve from scores to rates.

    Attributes:
        kind: `platt` or `isotonic`.
        slope: Of Platt's curve `sigma(slope score + intercept)`; 0 for another kind.
        intercept: Likewise.
        scores: Scores at which the isotonic curve is known, rising; between them it is a straight line, beyond them
            it is flat. Empty for another kind.
        rates: The rates there.
        rows: Labelled answers that it was fitted on.
        lowest: Their lowest score: below it the curve was never seen.
        highest: Their highest score.
    """

    kind: CalibrationKind
    slope: float
    intercept: float
    scores: tuple[float, ...]
    rates: tuple[float, ...]
    rows: int
    lowest: float
    highest: float

    def rate(self, scores: FloatArray) -> FloatArray:
        """The thumbs-up rate of answers with these scores, in [0, 1].

        Args:
            scores: Any shape.
        """
        values = np.asarray(scores, dtype=np.float64)
        if self.kind == "platt":
            return np.asarray(special.expit(self.slope * values + self.intercept))
        return np.interp(values, self.scores, self.rates)

    def to_json(self) -> str:
        """The curve as JSON; floats keep all their digits."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """The curve that `to_json` wrote.

        Raises:
            ValueError: It is none.
        """
        try:
            values = json.loads(text)
            values |= {name: tuple(map(float, values[name])) for name in ("scores", "rates")}
            return cls(**values)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"no calibration: {error}") from error


def why_not_calibrated(labels: FloatArray, weights: FloatArray | None = None) -> str | None:
    """Why no curve can be fitted on these labels, in words; None where one can.

    Args:
        labels: (rows,) in [0, 1]: whether the thumb is up, or how probably.
        weights: (rows,) at least 0; rows of weight 0 say nothing. None means 1.
    """
    up = np.asarray(labels, dtype=np.float64)
    if weights is not None:
        up = up[np.asarray(weights) > 0]
    ups = int((up > 0.5).sum())
    downs = len(up) - ups
    if min(ups, downs) >= LEAST_OF_EACH:
        return None
    return f"{ups} thumbs up and {downs} down are labelled, and {LEAST_OF_EACH} of each are the least for a curve"


def fit_calibration(
    scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None, kind: CalibrationKind = "platt"
) -> Calibration:
    """The curve from scores to rates that fits labelled answers best.

    Args:
        scores: (rows,) a judge's scores, higher for better answers.
        labels: (rows,) in [0, 1]: whether the thumb is up, or how probably.
        weights: (rows,) at least 0; None means 1.
        kind: `platt` maximises the likelihood of targets that are drawn in from 0 and 1 as if one more vote of each
            kind had been seen; `isotonic` minimises squares.

    Raises:
        ValueError: Shapes differ, a value is out of range, or labels are too few or all alike.

    Source: Platt (1999), "Probabilistic outputs for support vector machines", section 2.2; soft labels take the place
    between his two targets that their probability says. Zadrozny and Elkan (2002) for isotonic regression.
    """
    values, up = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    mass = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    _check(values, up, mass)
    reason = why_not_calibrated(up, mass)
    if reason is not None:
        raise ValueError(f"no calibration: {reason}.")
    counted = mass > 0
    values, up, mass = values[counted], up[counted], mass[counted]
    slope, intercept = _platt(values, up, mass) if kind == "platt" else (0.0, 0.0)
    known, rates = _isotonic(values, up, mass) if kind == "isotonic" else (np.empty(0), np.empty(0))
    seen = len(values), float(values.min()), float(values.max())
    return Calibration(kind, slope, intercept, tuple(known.tolist()), tuple(rates.tolist()), *seen)


def _check(values: FloatArray, up: FloatArray, mass: FloatArray) -> None:
    if not (values.ndim == 1 and values.shape == up.shape == mass.shape):
        raise ValueError(
            f"scores {values.shape}, labels {up.shape} and weights {mass.shape} differ in shape; give one a row."
        )
    wrong = ~np.isfinite(values) | ~((up >= 0) & (up <= 1)) | ~(np.isfinite(mass) & (mass >= 0))
    if wrong.any():
        raise ValueError(
            f"{int(wrong.sum())} of {len(values)} rows have a score that is not finite, a label outside [0, 1] or a "
            f"weight below 0 (first: row {int(np.flatnonzero(wrong)[0])})."
        )


def _platt(values: FloatArray, up: FloatArray, mass: FloatArray) -> tuple[float, float]:
    """Slope and intercept of the likeliest logistic curve, by Newton's method on standardised scores."""
    ups, downs = float(mass @ up), float(mass @ (1.0 - up))
    targets = up * (ups + 1.0) / (ups + 2.0) + (1.0 - up) / (downs + 2.0)
    mean, spread = float(values.mean()), float(values.std())
    columns = np.stack([np.zeros_like(values) if spread == 0 else (values - mean) / spread, np.ones_like(values)])
    parameters = np.array([0.0, special.logit(float(mass @ targets) / float(mass.sum()))])

    def loss(candidate: FloatArray) -> float:
        logits = candidate @ columns
        return float(mass @ (np.logaddexp(0.0, logits) - targets * logits))

    before = loss(parameters)
    for _ in range(_NEWTON_STEPS):
        found = special.expit(parameters @ columns)
        gradient = columns @ (mass * (found - targets))
        curvature = (columns * (mass * found * (1.0 - found))) @ columns.T
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        # Far from the optimum a whole step may overshoot: the loss is convex, so some share of it does not.
        for _ in range(_HALVINGS):
            after = loss(parameters - step)
            if after <= before:
                break
            step = step / 2
        parameters, before = parameters - step, after
        if float(np.abs(step).max()) < _PRECISION:
            break
    slope = 0.0 if spread == 0 else float(parameters[0]) / spread
    return slope, float(parameters[1]) - slope * mean


def _isotonic(values: FloatArray, up: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scores and rates of the rising steps that fit best; equal scores are one, and have one rate."""
    known, places = np.unique(values, return_inverse=True)
    together = np.bincount(places, weights=mass)
    means = np.bincount(places, weights=mass * up) / together
    rates = np.asarray(optimize.isotonic_regression(means, weights=together).x)
    # Within a step only its two ends say anything.
    inside = np.zeros(len(known), dtype=bool)
    inside[1:-1] = (rates[1:-1] == rates[:-2]) & (rates[1:-1] == rates[2:])
    return known[~inside], np.clip(rates[~inside], 0.0, 1.0)
