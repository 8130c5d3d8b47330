"""Calibration: whether sigma(margin), the probability that the model gives to the label, can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from .estimands import Source
from .scores import PairScores
from .temperature import temperature
from .types import Draft, Estimand, EvaluationSettings, FloatArray, Metric

NAME = "calibration"
VERSION = 3
_BIASED = "no interval: chance alone makes it larger, and resampling adds more; compare it with ece_if_calibrated"
_EXPECTED = "what a calibrated model would show, on average, on this many rows and groups"


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """`brier`, `log_loss`, `ece` and the reliability curve of sigma(margin), and the best `temperature`."""
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        probability = special.expit(model.margins)
        metrics.append(source.mean("brier", (1.0 - probability) ** 2, "squared probability"))
        # log(1 + e^x) as max(x, 0) + log1p(e^-|x|): numpy's logaddexp takes four times as long.
        losses = np.maximum(-model.margins, 0.0) + np.log1p(np.exp(-np.abs(model.margins)))
        metrics.append(source.mean("log_loss", losses, "nats"))
        metrics += _curve(source, model, np.maximum(probability, 1.0 - probability), settings)
        metrics.append(temperature(source, model.margins, settings))
    return metrics


def _curve(
    source: Source, model: PairScores, confidence: FloatArray, settings: EvaluationSettings
) -> list[Estimand | Metric]:
    """Accuracy and mean confidence over equal-width bins of confidence, and how far apart they are.

    Confidence is that of the answer the model prefers, in [0.5, 1]. Source: Guo et al. (2017), "On calibration of
    modern neural networks", section 2 and equation 3.
    """
    bins = settings.calibration_bins
    bin_numbers = np.minimum(((confidence - 0.5) * 2 * bins).astype(np.int64), bins - 1)
    metrics: list[Estimand | Metric] = []
    expected, observed = 0.0, 0.0
    for number in np.unique(bin_numbers):
        rows = bin_numbers == number
        part = f"confidence={0.5 + number / bins / 2:.3g} to {0.5 + (number + 1) / bins / 2:.3g}"
        metrics.append(source.mean("reliability_accuracy", model.wins, "share", rows, slice=part, proportion=True))
        metrics.append(source.mean("reliability_confidence", confidence, "probability", rows, slice=part))
        gaps = (model.wins - confidence)[rows]
        observed += abs(float(gaps.sum()))
        expected += np.sqrt(2.0 / np.pi) * _spread(source, rows, gaps, confidence[rows])
    n = bin_numbers.shape[0]
    metrics.append(source.metric("ece", observed / n, "share", _BIASED))
    metrics.append(source.metric("ece_if_calibrated", expected / n, "share", _EXPECTED))
    return metrics


def _spread(source: Source, rows: np.ndarray, gaps: FloatArray, confidence: FloatArray) -> float:
    """Standard deviation of a bin's sum of gaps under a calibrated model: pairs of one prompt may move together.

    The larger of what independent pairs would have and of what the groups show; a tie is half right for certain.
    """
    alone = float((confidence * (1.0 - confidence))[np.abs(gaps) + confidence != 0.5].sum())
    sums = np.bincount(source.groups.unit[rows], weights=gaps - gaps.mean())
    return float(np.sqrt(max(alone, float((sums**2).sum()))))
