"""Unpaired rows: how well rewards tell desirable answers from undesirable ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from evaluators.scores import BoolArray, UnpairedScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from evaluators.uncertainty import clustered_error, exact_share, normal_quantile

NAME = "unpaired_auc"
VERSION = 1
_ONE_CLASS = "all rows have one label: two classes are needed"


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """AUC, balanced accuracy at the best and at zero threshold, and the difference of the classes' mean rewards."""
    found: list[Draft] = []
    for model in scores:
        found.append(_auc(model, settings))
        best = _best_threshold(model)
        found.append(_balanced(model, "balanced_accuracy_zero", model.rewards > 0, None))
        found.append(
            _balanced(
                model,
                "balanced_accuracy_best",
                model.rewards > best,
                f"threshold {best:.4g} was chosen on these same rows, so this is an upper bound",
            )
        )
        found.append(_separation(model))
    return found


def _auc(model: UnpairedScores, settings: EvaluationSettings) -> Metric:
    """P(desirable reward > undesirable reward), a tie counting half, with a standard error clustered by group.

    Source: Mann and Whitney (1947) for the estimate; Obuchowski (1997), "Nonparametric analysis of clustered ROC
    curve data", equation 4, for the variance: placements summed within a group.
    """
    desirable, undesirable = model.rewards[model.labels], model.rewards[~model.labels]
    n, groups = model.rewards.shape[0], model.groups.present()
    if not desirable.size or not undesirable.size:
        return Metric(NAME, VERSION, "auc", model.model, None, None, None, None, None, n, groups, "share", _ONE_CLASS)
    ranks = stats.rankdata(model.rewards)
    within = np.empty_like(ranks)
    within[model.labels] = stats.rankdata(desirable)
    within[~model.labels] = stats.rankdata(undesirable)
    # Placement of a desirable row: share of undesirable rows below it; of an undesirable one: of desirable above it.
    below = ranks - within
    placements = np.where(model.labels, below / undesirable.size, 1.0 - below / desirable.size)
    value = float(placements[model.labels].mean())
    sizes = np.where(model.labels, desirable.size, undesirable.size)
    error = clustered_error((placements - value) / sizes, model.groups)
    if error is None:
        reason = "one prompt group: no interval can be given"
        return Metric(NAME, VERSION, "auc", model.model, None, None, value, None, None, n, groups, "share", reason)
    if value in (0.0, 1.0):
        fewest = min(model.groups.present(model.labels), model.groups.present(~model.labels))
        low, high = exact_share(value, fewest, settings.confidence)
    else:
        reach = normal_quantile(0.5 + settings.confidence / 2) * error
        low, high = max(0.0, value - reach), min(1.0, value + reach)
    return Metric(NAME, VERSION, "auc", model.model, None, None, value, low, high, n, groups, "share", None)


def _best_threshold(model: UnpairedScores) -> float:
    """The reward above which calling rows desirable has the highest balanced accuracy; the lowest of equals."""
    values, place = np.unique(model.rewards, return_inverse=True)
    ups = np.bincount(place, weights=model.labels.astype(np.float64))
    downs = np.bincount(place, weights=(~model.labels).astype(np.float64))
    if not ups.sum() or not downs.sum():
        return 0.0
    balanced = 0.5 * (1.0 - np.cumsum(ups) / ups.sum() + np.cumsum(downs) / downs.sum())
    return float(values[int(np.argmax(balanced))])


def _balanced(model: UnpairedScores, name: str, called: BoolArray, note: str | None) -> Estimand:
    desirable = model.labels.astype(np.float64)
    columns = [
        model.groups.sums(desirable * called),
        model.groups.sums(desirable),
        model.groups.sums((1 - desirable) * ~called),
        model.groups.sums(1 - desirable),
    ]
    return Estimand(
        NAME,
        VERSION,
        name,
        model.model,
        "share",
        columns,
        _balanced_share,
        model.labels.shape[0],
        undefined=_ONE_CLASS,
        proportion=True,
        note=note,
    )


def _balanced_share(totals: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (totals[..., 0] / totals[..., 1] + totals[..., 2] / totals[..., 3]))


def _separation(model: UnpairedScores) -> Estimand:
    desirable = model.labels.astype(np.float64)
    columns = [
        model.groups.sums(desirable * model.rewards),
        model.groups.sums(desirable),
        model.groups.sums((1 - desirable) * model.rewards),
        model.groups.sums(1 - desirable),
    ]
    return Estimand(
        NAME,
        VERSION,
        "reward_separation",
        model.model,
        "reward",
        columns,
        _difference_of_means,
        model.labels.shape[0],
        undefined=_ONE_CLASS,
    )


def _difference_of_means(totals: FloatArray) -> FloatArray:
    return np.asarray(totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3])
