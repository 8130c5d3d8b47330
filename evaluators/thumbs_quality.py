"""The thumbs model on held-out votes: whether it tells them apart better than length, and whether its rates hold."""

from __future__ import annotations

import numpy as np
import polars as pl

from .auc import Auc, clustered_auc
from .estimands import ONE_GROUP, ONE_GROUP_OF_A_KIND, Source, share
from .groups import BoolArray, Groups, group_numbers
from .predicted_rate import CALIBRATION_SPLIT
from .types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from .uncertainty import LEAST_ERROR, clustered_error, exact_share, t_quantile

NAME = "thumbs_model"
VERSION = 1
MODEL = "thumbs"
_TEST = "test"
_ONE_CLASS = "all held-out votes have one label: two classes are needed"
_NO_CALIBRATION = "the thumbs model has no calibration"
_BIASED = "no interval: chance alone makes it larger, and resampling adds more; compare it with ece_if_calibrated"
_EXPECTED = "what calibrated rates would show, on average, on this many votes"
# Rates are held off 0 and 1 by this in the log loss, where an isotonic curve reaches them.
_LEAST_RATE = 1e-6


def drafts(table: pl.DataFrame, settings: EvaluationSettings) -> list[Draft]:
    """`auc`, `length_only_auc`, `auc_over_length`; `accuracy`, `log_loss`, `brier`, `rate_bias`, `ece`, its curve.

    AUCs take each vote's label and no weight, as `unpaired_auc` does. The others take rows' weights and the
    probability that an answer is desirable, as the calibration does. The sign of length is learned on validation rows.

    Args:
        table: `thumbs_scores`, sorted by response.
        settings: Bins, confidence and seed.
    """
    rows = table.filter(pl.col("split").cast(pl.String) == _TEST)
    if rows.is_empty():
        return []
    groups = group_numbers(rows["group_id"], settings.seed)
    source = Source(NAME, VERSION, MODEL, groups)
    seen = table.filter(pl.col("split").cast(pl.String) == CALIBRATION_SPLIT)
    return [*_tells_apart(source, rows, seen, settings), *_believed(source, rows, settings)]


def _labels(rows: pl.DataFrame) -> BoolArray:
    return np.asarray(rows["probability_desirable"].cast(pl.Float64).to_numpy() > 0.5)


def _numbers(rows: pl.DataFrame, column: str) -> FloatArray:
    return rows[column].cast(pl.Float64).to_numpy()


def _auc(values: FloatArray, labels: BoolArray) -> Auc | None:
    return clustered_auc(values, labels, np.argsort(values, kind="stable"))


def _tells_apart(source: Source, rows: pl.DataFrame, seen: pl.DataFrame, settings: EvaluationSettings) -> list[Draft]:
    labels, length = _labels(rows), _numbers(rows, "token_count")
    before = _auc(_numbers(seen, "token_count"), _labels(seen))
    shorter = before is not None and before.value < 0.5
    own, alone = _auc(_numbers(rows, "score"), labels), _auc(-length if shorter else length, labels)
    if own is None or alone is None:
        return [
            source.metric(name, None, "share", _ONE_CLASS) for name in ("auc", "length_only_auc", "auc_over_length")
        ]
    fewest = min(source.groups.present(labels), source.groups.present(~labels))
    over = Auc(own.value - alone.value, own.influence - alone.influence)
    words = f"the {'shorter' if shorter else 'longer'} answer is the better, as on validation votes"
    return [
        _told(source, "auc", own, fewest, (0.0, 1.0), settings),
        _told(source, "length_only_auc", alone, fewest, (0.0, 1.0), settings, words),
        _told(source, "auc_over_length", over, fewest, (-1.0, 1.0), settings),
    ]


def _told(
    source: Source,
    name: str,
    auc: Auc,
    fewest: int,
    bounds: tuple[float, float],
    settings: EvaluationSettings,
    note: str | None = None,
) -> Metric:
    low, high = bounds
    if fewest < 2:
        refused = ONE_GROUP if source.groups.present() < 2 else ONE_GROUP_OF_A_KIND
        return source.metric(name, auc.value, "share", refused)
    if low == 0.0 and auc.value in bounds:
        ends = exact_share(auc.value, fewest, settings.confidence)
        return source.metric(name, auc.value, "share", note, ci_low=ends[0], ci_high=ends[1])
    error = clustered_error(auc.influence, source.groups, fewest)
    if error is None or error < LEAST_ERROR:
        return source.metric(name, auc.value, "share", "no interval: all prompt groups agree, so they show no spread")
    reach = t_quantile(0.5 + settings.confidence / 2, fewest) * error
    return source.metric(
        name,
        auc.value,
        "share",
        note,
        ci_low=max(low, auc.value - reach),
        ci_high=min(high, auc.value + reach),
        standard_error=error,
    )


def _believed(source: Source, rows: pl.DataFrame, settings: EvaluationSettings) -> list[Draft]:
    names = {"accuracy": "share", "log_loss": "nats", "brier": "squared probability", "ece": "share"}
    names |= {"rate_bias": "share"}
    if rows["probability"].null_count():
        return [source.metric(name, None, unit, _NO_CALIBRATION) for name, unit in names.items()]
    rate, up = _numbers(rows, "probability"), _numbers(rows, "probability_desirable")
    weights = _numbers(rows, "weight")
    kept = np.clip(rate, _LEAST_RATE, 1.0 - _LEAST_RATE)
    right = np.where(rate == 0.5, 0.5, np.where(rate > 0.5, up, 1.0 - up))
    values = {
        "accuracy": right,
        "log_loss": -(up * np.log(kept) + (1.0 - up) * np.log1p(-kept)),
        "brier": up * (1.0 - rate) ** 2 + (1.0 - up) * rate**2,
    }
    metrics: list[Draft] = [
        _mean(source, name, of, weights, names[name], proportion=name == "accuracy") for name, of in values.items()
    ]
    # In the large: by how much the predicted rate of held-out votes is above the one that was seen.
    metrics.append(_mean(source, "rate_bias", rate - up, weights, "share"))
    return metrics + _curve(source, rate, up, weights, settings)


def _mean(
    source: Source,
    name: str,
    values: FloatArray,
    weights: FloatArray,
    unit: str,
    rows: BoolArray | None = None,
    slice: str | None = None,
    proportion: bool = False,
) -> Estimand:
    groups: Groups = source.groups
    present = groups.present(rows)
    return Estimand(
        evaluator=source.evaluator,
        version=source.version,
        metric=name,
        model=source.model,
        unit=unit,
        columns=[groups.unit_sums(weights * values, rows), groups.unit_sums(weights, rows)],
        formula=share,
        n=values.shape[0] if rows is None else int(np.count_nonzero(rows)),
        n_groups=present,
        fewest=present,
        slice=slice,
        undefined="no held-out vote has a weight above 0",
        proportion=proportion,
    )


def _curve(
    source: Source, rate: FloatArray, up: FloatArray, weights: FloatArray, settings: EvaluationSettings
) -> list[Draft]:
    """Predicted and seen rates over equal-width bins, and how far apart they are. Source: Guo et al. (2017)."""
    bins = settings.calibration_bins
    numbers = np.minimum((rate * bins).astype(np.int64), bins - 1)
    metrics: list[Draft] = []
    expected, observed = 0.0, 0.0
    for number in np.unique(numbers):
        rows = numbers == number
        part = f"probability={number / bins:.3g} to {(number + 1) / bins:.3g}"
        metrics.append(_mean(source, "reliability_rate", up, weights, "share", rows, part, proportion=True))
        metrics.append(_mean(source, "reliability_probability", rate, weights, "probability", rows, part))
        gaps = (weights * (up - rate))[rows]
        observed += abs(float(gaps.sum()))
        # The larger of what independent votes would have and of what the groups show.
        alone = float((weights**2 * rate * (1.0 - rate))[rows].sum())
        sums = np.bincount(source.groups.unit[rows], weights=gaps - gaps.mean())
        expected += np.sqrt(2.0 / np.pi * max(alone, float((sums**2).sum())))
    mass = float(weights.sum())
    if mass == 0.0:
        return [*metrics, source.metric("ece", None, "share", "no held-out vote has a weight above 0")]
    metrics.append(source.metric("ece", observed / mass, "share", _BIASED))
    metrics.append(source.metric("ece_if_calibrated", expected / mass, "share", _EXPECTED))
    return metrics
