"""Comparison of models on the same held-out pairs: differences, a test, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from evaluators.pair_accuracy import share
from evaluators.scores import PairScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from evaluators.uncertainty import clustered_error, normal_quantile

NAME = "comparison"
VERSION = 1


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Every model against the baseline: differences in accuracy and margin, an exact test, the least effect seen.

    With several models the tests' p-values are corrected by Holm's method.
    """
    baseline = [model for model in scores if model.model == settings.baseline]
    others = [model for model in scores if model.model != settings.baseline]
    if not baseline or not others:
        return []
    adjusted = holm([mcnemar_exact(model.wins, baseline[0].wins) for model in others])
    found: list[Draft] = []
    for model, p_value in zip(others, adjusted, strict=True):
        found += _against(model, baseline[0], p_value, len(others), settings)
    return found


def _against(
    model: PairScores, baseline: PairScores, p_value: float, tests: int, settings: EvaluationSettings
) -> list[Draft]:
    n, groups = model.wins.shape[0], model.groups.present()
    difference = model.wins - baseline.wins
    differences = {
        "accuracy_difference": (difference, "share"),
        "margin_difference": (model.margins - baseline.margins, "reward"),
    }
    found: list[Draft] = [
        Estimand(
            NAME,
            VERSION,
            name,
            model.model,
            unit,
            [model.groups.sums(values), model.groups.sums(np.ones_like(values))],
            share,
            n,
            compared_with=baseline.model,
        )
        for name, (values, unit) in differences.items()
    ]
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    words = f"{better} pairs better, {worse} worse, {n - better - worse} the same"
    if tests > 1:
        words += f"; corrected for {tests} comparisons"
    found.append(_metric(model, baseline, "mcnemar_p", p_value, "probability", n, groups, words))
    found.append(_least_effect(model, baseline, difference, settings))
    return found


def _least_effect(
    model: PairScores, baseline: PairScores, difference: FloatArray, settings: EvaluationSettings
) -> Metric:
    n, groups = difference.shape[0], model.groups.present()
    error = clustered_error((difference - difference.mean()) / n, model.groups)
    effect: float | None = None
    if error is None:
        words = "one prompt group: no standard error can be given"
    elif error == 0.0:
        # A spread of nothing would claim that any effect, however small, is found.
        words = "all prompt groups changed alike, so the spread of the difference is not known"
    else:
        effect = minimum_detectable_effect(error, settings)
        words = f"in accuracy, at power {settings.power:g}"
    return _metric(model, baseline, "minimum_detectable_effect", effect, "share", n, groups, words)


def _metric(
    model: PairScores, baseline: PairScores, name: str, value: float | None, unit: str, n: int, groups: int, words: str
) -> Metric:
    return Metric(NAME, VERSION, name, model.model, baseline.model, None, value, None, None, n, groups, unit, words)


def mcnemar_exact(wins: FloatArray, baseline_wins: FloatArray) -> float:
    """Two-sided p-value that pairs change for the better as often as for the worse.

    A pair changes when its score (1, 1/2 at a tie, 0) does. Pairs that do not change say nothing, and under the null
    the changed ones are coin flips; without ties this is McNemar's exact test. It takes pairs as independent, which
    pairs of one prompt are not quite: the bootstrap interval of the difference is the one that allows for that.

    Source: McNemar (1947); with ties as a change of half a pair it is the sign test.
    """
    better = int((wins > baseline_wins).sum())
    changed = better + int((wins < baseline_wins).sum())
    return 1.0 if changed == 0 else float(stats.binomtest(better, changed).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number. Source: Holm (1979)."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(value) for value in adjusted]


def minimum_detectable_effect(error: float, settings: EvaluationSettings) -> float:
    """The difference that a test of this size finds with the stated power, from its standard error."""
    return (normal_quantile(0.5 + settings.confidence / 2) + normal_quantile(settings.power)) * error
