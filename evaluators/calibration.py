"""Calibration: whether sigma(margin), the probability that the model gives to the label, can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special

from evaluators.pair_accuracy import share
from evaluators.scores import PairScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric

NAME = "calibration"
VERSION = 1


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """`brier`, `log_loss` and `ece` of sigma(margin), and the `temperature` that would minimise the log loss."""
    found: list[Draft] = []
    for model in scores:
        probability = special.expit(model.margins)
        found.append(_mean(model, "brier", (1.0 - probability) ** 2, "squared probability"))
        found.append(_mean(model, "log_loss", np.logaddexp(0.0, -model.margins), "nats"))
        found.append(_ece(model, probability, settings))
        found.append(_temperature(model))
    return found


def _mean(model: PairScores, name: str, values: FloatArray, unit: str) -> Estimand:
    columns = [model.groups.sums(values), model.groups.sums(np.ones_like(values))]
    return Estimand(NAME, VERSION, name, model.model, unit, columns, share, values.shape[0])


def _ece(model: PairScores, probability: FloatArray, settings: EvaluationSettings) -> Estimand:
    """Expected calibration error: how far accuracy is from confidence, over equal-width bins of confidence.

    Confidence is that of the answer the model prefers, in [0.5, 1]. Source: Guo et al. (2017), equation 3.
    """
    confidence = np.maximum(probability, 1.0 - probability)
    bins = settings.calibration_bins
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(np.int64), bins - 1)
    gaps = model.wins - confidence
    columns = [model.groups.sums(gaps * (place == number)) for number in range(bins)]
    columns.append(model.groups.sums(np.ones_like(gaps)))
    return Estimand(NAME, VERSION, "ece", model.model, "share", columns, _mean_gap, gaps.shape[0], basic=True)


def _mean_gap(totals: FloatArray) -> FloatArray:
    return np.asarray(np.abs(totals[..., :-1]).sum(axis=-1) / totals[..., -1])


def _temperature(model: PairScores) -> Metric:
    """T that minimises the log loss of sigma(margin / T): above 1 the margins are too sure, below 1 too timid."""
    n, groups = model.margins.shape[0], model.groups.present()
    value: float | None = None
    reason: str | None = "no interval: a fit, not a mean"
    if not np.any(model.margins > 0) or not np.any(model.margins < 0):
        reason = "margins all have one sign or are ties, so no finite temperature is best"
    else:
        # In 1/T the log loss is convex; its logarithm is searched, so that T stays above 0.
        scale = float(np.abs(model.margins).mean())
        found = optimize.minimize_scalar(
            lambda log_inverse: float(np.logaddexp(0.0, -np.exp(log_inverse) * model.margins).mean()),
            bounds=(-np.log(scale) - 12.0, -np.log(scale) + 12.0),
            method="bounded",
        )
        value = float(np.exp(-found.x))
        if float(model.margins.mean()) <= 0:
            value, reason = None, "the mean margin is not above 0, so the best temperature is infinite"
    return Metric(NAME, VERSION, "temperature", model.model, None, None, value, None, None, n, groups, "ratio", reason)
