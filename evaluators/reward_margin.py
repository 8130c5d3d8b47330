"""Reward margin: by how much the better answer wins, and whether both answers' likelihoods fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .estimands import ONE_GROUP, Source, small_slice
from .scores import PairScores
from .slices import each_slice
from .types import Draft, EvaluationSettings, FloatArray, Metric
from .uncertainty import clustered_error, t_quantile

NAME = "reward_margin"
VERSION = 3
_NO_REFERENCE = "there are no reference log-probs to compare with"


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean, median and quantiles of the margin; rewards and log-probs of both sides; whether both fell."""
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        means = {
            "mean": (model.margins, "reward"),
            "chosen_reward": (model.chosen_rewards, "reward"),
            "rejected_reward": (model.rejected_rewards, "reward"),
            "chosen_logps": (model.chosen_logps, "nats"),
            "rejected_logps": (model.rejected_logps, "nats"),
        }
        metrics += [source.mean(name, values, unit) for name, (values, unit) in means.items()]
        ordered = np.sort(model.margins)
        levels = {"median": 0.5} | {f"quantile_{level:g}": level for level in settings.quantiles}
        metrics += [_quantile(source, model, ordered, name, level, settings) for name, level in levels.items()]
        metrics += _against_reference(source, model)
        for name, rows in each_slice(model.slices):
            warning = small_slice(model.groups.present(rows), settings)
            metrics.append(source.mean("mean", model.margins, "reward", rows, slice=name, note=warning))
    return metrics


def _quantile(
    source: Source, model: PairScores, ordered: FloatArray, name: str, level: float, settings: EvaluationSettings
) -> Metric:
    """A quantile of the margins, with Woodruff's interval.

    The interval of the share of margins at or below the quantile, clustered by group, is read back through the
    margins' distribution. Source: Woodruff (1952), "Confidence intervals for medians and other position measures".
    """
    value = float(np.quantile(ordered, level))
    below = (model.margins <= value).astype(np.float64)
    error = clustered_error((below - level) / ordered.shape[0], model.groups)
    if error is None:
        return source.metric(name, value, "reward", ONE_GROUP)
    reach = t_quantile(0.5 + settings.confidence / 2, model.groups.present()) * error
    low, high = (float(bound) for bound in np.quantile(ordered, np.clip([level - reach, level + reach], 0, 1)))
    return source.metric(name, value, "reward", ci_low=low, ci_high=high)


def _against_reference(source: Source, model: PairScores) -> list[Draft]:
    """How each side's log-prob moved, and 1 where both fell on average: a known failure that margins hide."""
    names = ("chosen_logps_change", "rejected_logps_change")
    if model.reference_chosen_logps is None or model.reference_rejected_logps is None:
        return [
            *(source.metric(name, None, "nats", _NO_REFERENCE) for name in names),
            source.metric("both_logps_fall", None, "flag", _NO_REFERENCE),
        ]
    chosen = model.chosen_logps - model.reference_chosen_logps
    rejected = model.rejected_logps - model.reference_rejected_logps
    fall = float(chosen.mean() < 0 and rejected.mean() < 0)
    told = f"mean change of log-probs: chosen {chosen.mean():+.3g} nats, rejected {rejected.mean():+.3g} nats"
    changes = [source.mean(name, moved, "nats") for name, moved in zip(names, (chosen, rejected), strict=True)]
    return [*changes, source.metric("both_logps_fall", fall, "flag", told)]
