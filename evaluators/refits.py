"""A calibration, and its refits on resamples of its labelled answers: how unsure a rate is before any new answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from .groups import Groups, group_numbers
from .rate_calibration import Calibration, fit_calibration, why_not_calibrated
from .types import CalibrationKind, EvaluationSettings, FloatArray
from .uncertainty import resampled_counts

# Votes that a stratum of scores needs before a curve is corrected within it, and the most strata.
_ROWS_OF_A_STRATUM = 40
_MOST_STRATA = 10


@dataclass(frozen=True)
class Labelled:
    """Labelled answers under the thumbs model, that a calibration is fitted on; every array is (rows,).

    Attributes:
        scores: The thumbs model's scores, logits.
        labels: How probably each is desirable.
        weights: What each counts.
        groups: Prompt groups.
        edges: (strata - 1,) scores at which strata of scores begin.
        kind: What curve is fitted.
    """

    scores: FloatArray
    labels: FloatArray
    weights: FloatArray
    groups: Groups
    edges: FloatArray
    kind: CalibrationKind

    @property
    def refusal(self) -> str | None:
        """Why no curve can be fitted; None where one can."""
        return why_not_calibrated(self.labels, self.weights)


@dataclass(frozen=True)
class Rates:
    """Scores to rates: a calibration, corrected by the mean of what it left over in each stratum of scores.

    Attributes:
        curve: The calibration.
        edges: (strata - 1,) scores at which strata begin.
        residuals: (strata,) weighted mean of label less rate.
    """

    curve: Calibration
    edges: FloatArray
    residuals: FloatArray

    def of(self, scores: FloatArray) -> FloatArray:
        """(answers,) rates, which a correction may take a little below 0 or above 1."""
        return self.curve.rate(scores) + self.residuals[np.searchsorted(self.edges, scores, side="right")]


def labelled(rows: pl.DataFrame, settings: EvaluationSettings) -> Labelled:
    """The rows of `thumbs_scores` as arrays, with strata of equal numbers of rows."""
    scores = rows["score"].cast(pl.Float64).to_numpy()
    strata = int(np.clip(rows.height // _ROWS_OF_A_STRATUM, 1, _MOST_STRATA))
    levels = np.arange(1, strata) / strata
    return Labelled(
        scores=scores,
        labels=rows["probability_desirable"].cast(pl.Float64).to_numpy(),
        weights=rows["weight"].cast(pl.Float64).to_numpy(),
        groups=group_numbers(rows["group_id"], settings.seed),
        edges=np.unique(np.quantile(scores, levels)) if scores.size else np.empty(0),
        kind=settings.calibration,
    )


def fitted_rates(rows: Labelled, weights: FloatArray) -> Rates:
    """The rates that the labelled answers give.

    A curve of two numbers is wrong wherever the truth has another shape, and new answers lie elsewhere than labelled
    ones. What it leaves over is put back stratum by stratum, in the new answers' own shares of the strata.

    Args:
        rows: Labelled answers.
        weights: (rows,) what each counts: its own weight, times how often its group was drawn.

    Raises:
        ValueError: They are too few, or all alike.

    Source: Angelopoulos et al. (2023), "Prediction-powered inference", for the correction by labelled residuals; Fisch
    et al. (2024), "Stratified prediction-powered inference", for strata.
    """
    curve = fit_calibration(rows.scores, rows.labels, weights, rows.kind)
    stratum = np.searchsorted(rows.edges, rows.scores, side="right")
    strata = rows.edges.shape[0] + 1
    left = np.bincount(stratum, weights=weights * (rows.labels - curve.rate(rows.scores)), minlength=strata)
    mass = np.bincount(stratum, weights=weights, minlength=strata)
    return Rates(curve, rows.edges, np.where(mass > 0, left / np.where(mass > 0, mass, 1.0), 0.0))


def refitted(
    rows: Labelled, summary: Callable[[Rates], FloatArray], size: int, settings: EvaluationSettings
) -> FloatArray:
    """What a number that rests on the calibration becomes when its prompt groups are resampled and it is refitted.

    Args:
        rows: Labelled answers.
        summary: Rates -> (size,) numbers.
        size: How many numbers.
        settings: Draws and seed.

    Returns:
        (draws, size), NaN where a resample determines no calibration.
    """
    # A stream of its own: the new answers' resamples are independent of these.
    generator = np.random.default_rng([settings.seed, 2])
    found = np.full((settings.bootstrap_draws, size), np.nan)
    draw = 0
    for block in resampled_counts(rows.groups.unit_count, settings.bootstrap_draws, generator):
        for counts in block:
            weights = rows.weights * counts[rows.groups.unit]
            if why_not_calibrated(rows.labels, weights) is None:
                found[draw] = summary(fitted_rates(rows, weights))
            draw += 1
    return found
