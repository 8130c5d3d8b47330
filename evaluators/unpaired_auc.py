"""Unpaired rows: how well rewards tell desirable answers from undesirable ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .auc import clustered_auc
from .estimands import ONE_GROUP, ONE_GROUP_OF_A_KIND, Source, difference_of_means, mean_of_two_shares, small_slice
from .groups import BoolArray, IntArray
from .paired_tests import t_test, told_errors
from .scores import UnpairedScores
from .slices import each_slice
from .types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from .uncertainty import LEAST_ERROR, clustered_error, exact_share, t_quantile

NAME = "unpaired_auc"
VERSION = 3
ONE_CLASS = "all rows have one label: two classes are needed"


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """AUC, balanced accuracy at the best and at zero threshold, and the difference of the classes' mean rewards.

    `auc_chance_p` tests the AUC against chance. AUC and separation are given for each slice too.
    """
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        order = np.argsort(model.rewards, kind="stable")
        metrics.append(_auc(source, model, order, None, None, settings))
        metrics.append(_chance(source, model, order))
        best = _best_threshold(model.rewards[order], model.labels[order])
        note = f"threshold {best:.4g} was chosen on these same rows, so this is an upper bound"
        called = {"zero": model.rewards > 0, "best": model.rewards > best}
        metrics.append(_balanced(source, "balanced_accuracy_zero", called["zero"], model.labels))
        metrics.append(_balanced(source, "balanced_accuracy_best", called["best"], model.labels, note))
        metrics.append(_separation(source, model, None, None, settings))
        for name, rows in each_slice(model.slices):
            metrics.append(_auc(source, model, order, name, rows, settings))
            metrics.append(_separation(source, model, name, rows, settings))
    return metrics


def _auc(
    source: Source,
    model: UnpairedScores,
    order: IntArray,
    part: str | None,
    rows: BoolArray | None,
    settings: EvaluationSettings,
) -> Metric:
    n_groups = model.groups.present(rows)
    n = model.rewards.shape[0] if rows is None else int(np.count_nonzero(rows))
    warning = None if part is None else small_slice(n_groups, settings)
    where = {"slice": part, "n": n, "n_groups": n_groups}
    auc = clustered_auc(model.rewards, model.labels, order, rows)
    if auc is None:
        return source.metric("auc", None, "share", ONE_CLASS, **where)
    ups, downs = (labels if rows is None else labels & rows for labels in (model.labels, ~model.labels))
    fewest = min(model.groups.present(ups), model.groups.present(downs))
    if fewest < 2:
        refusal = ONE_GROUP if n_groups < 2 else ONE_GROUP_OF_A_KIND
        reason = refusal if warning is None else f"{warning}; {refusal}"
        return source.metric("auc", auc.value, "share", reason, **where)
    if auc.value in (0.0, 1.0):
        low, high = exact_share(auc.value, fewest, settings.confidence)
        return source.metric("auc", auc.value, "share", warning, ci_low=low, ci_high=high, **where)
    error = clustered_error(auc.influence, model.groups, fewest)
    if error is None or error < LEAST_ERROR:
        reason = "no interval: all prompt groups agree, so they show no spread"
        return source.metric("auc", auc.value, "share", reason, **where)
    reach = t_quantile(0.5 + settings.confidence / 2, fewest) * error
    ends = {"ci_low": max(0.0, auc.value - reach), "ci_high": min(1.0, auc.value + reach)}
    return source.metric("auc", auc.value, "share", warning, standard_error=error, **ends, **where)


def _chance(source: Source, model: UnpairedScores, order: IntArray) -> Metric:
    """Two-sided p-value that rewards do not tell the labels apart."""
    auc = clustered_auc(model.rewards, model.labels, order)
    if auc is None:
        return source.metric("auc_chance_p", None, "probability", ONE_CLASS)
    fewest = min(model.groups.present(model.labels), model.groups.present(~model.labels))
    error = clustered_error(auc.influence, model.groups, fewest)
    p_value = None if error is None else t_test(auc.value - 0.5, error, fewest)
    refusal = ONE_GROUP if model.groups.present() < 2 else ONE_GROUP_OF_A_KIND
    words = refusal.replace("interval", "test") if p_value is None else told_errors(source)
    return source.metric("auc_chance_p", p_value, "probability", words)


def _best_threshold(ordered: FloatArray, labels: BoolArray) -> float:
    """The reward above which calling rows desirable has the highest balanced accuracy; the lowest of equals."""
    n_up = int(np.count_nonzero(labels))
    n_down = labels.shape[0] - n_up
    if not n_up or not n_down:
        return 0.0
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    ups = np.cumsum(labels)[last]
    balanced_shares = 0.5 * (1.0 - ups / n_up + (last + 1 - ups) / n_down)
    return float(ordered[last[int(np.argmax(balanced_shares))]])


def _balanced(source: Source, name: str, called: BoolArray, labels: BoolArray, note: str | None = None) -> Estimand:
    """The mean of the shares of desirable rows that are called so and of undesirable rows that are not."""
    right = called.astype(np.float64)
    return source.two_means(
        name,
        (right, 1.0 - right),
        (labels, ~labels),
        unit="share",
        formula=mean_of_two_shares,
        undefined=ONE_CLASS,
        proportion=True,
        note=note,
    )


def _separation(
    source: Source, model: UnpairedScores, part: str | None, rows: BoolArray | None, settings: EvaluationSettings
) -> Estimand:
    kinds = (model.labels, ~model.labels) if rows is None else (model.labels & rows, ~model.labels & rows)
    warning = None if rows is None else small_slice(model.groups.present(rows), settings)
    return source.two_means(
        "reward_separation",
        (model.rewards, model.rewards),
        kinds,
        unit="reward",
        formula=difference_of_means,
        undefined=ONE_CLASS,
        slice=part,
        note=warning,
    )
