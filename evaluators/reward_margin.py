"""Reward margin: by how much the better answer wins, and whether both answers' likelihoods fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.pair_accuracy import share
from evaluators.scores import PairScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from evaluators.uncertainty import clustered_error, normal_quantile

NAME = "reward_margin"
VERSION = 1


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean, median and quantiles of the margin; rewards and log-probs of both sides; whether both fell."""
    found: list[Draft] = []
    for model in scores:
        means = {
            "mean": (model.margins, "reward"),
            "chosen_reward": (model.chosen_rewards, "reward"),
            "rejected_reward": (model.rejected_rewards, "reward"),
            "chosen_logps": (model.chosen_logps, "nats"),
            "rejected_logps": (model.rejected_logps, "nats"),
        }
        found += [_mean(model, name, values, unit) for name, (values, unit) in means.items()]
        levels = {"median": 0.5} | {f"quantile_{level:g}": level for level in settings.quantiles}
        found += [quantile(model, name, level, settings) for name, level in levels.items()]
        found.append(_both_fall(model))
    return found


def _mean(model: PairScores, name: str, values: FloatArray, unit: str) -> Estimand:
    columns = [model.groups.sums(values), model.groups.sums(np.ones_like(values))]
    return Estimand(NAME, VERSION, name, model.model, unit, columns, share, values.shape[0])


def quantile(model: PairScores, name: str, level: float, settings: EvaluationSettings) -> Metric:
    """A quantile of the margins, with Woodruff's interval.

    The interval of the share of margins at or below the quantile, clustered by group, is read back through the
    margins' distribution. Source: Woodruff (1952), "Confidence intervals for medians and other position measures".
    """
    margins = np.sort(model.margins)
    n = margins.shape[0]
    value = float(np.quantile(margins, level))
    error = clustered_error(((model.margins <= value).astype(np.float64) - level) / n, model.groups)
    low = high = None
    reason = "one prompt group: no interval can be given"
    if error is not None:
        reach = normal_quantile(0.5 + settings.confidence / 2) * error
        low, high = (float(bound) for bound in np.quantile(margins, np.clip([level - reach, level + reach], 0, 1)))
    return Metric(
        NAME,
        VERSION,
        name,
        model.model,
        None,
        None,
        value,
        low,
        high,
        n,
        model.groups.present(),
        "reward",
        reason if error is None else None,
    )


def _both_fall(model: PairScores) -> Metric:
    """1 where chosen and rejected are both less likely than under the reference, on average; a known failure."""
    n, groups = model.margins.shape[0], model.groups.present()
    value: float | None = None
    reason: str | None = "there are no reference log-probs to compare with"
    if model.reference_chosen_logps is not None and model.reference_rejected_logps is not None:
        chosen = float((model.chosen_logps - model.reference_chosen_logps).mean())
        rejected = float((model.rejected_logps - model.reference_rejected_logps).mean())
        value = float(chosen < 0 and rejected < 0)
        reason = f"mean change of log-probs: chosen {chosen:+.3g} nats, rejected {rejected:+.3g} nats"
    return Metric(
        NAME, VERSION, "both_logps_fall", model.model, None, None, value, None, None, n, groups, "flag", reason
    )
