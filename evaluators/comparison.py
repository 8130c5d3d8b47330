"""Comparison of models on the same held-out pairs: differences, exact tests, and what this test set can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy import stats

from evaluators.pair_accuracy import share
from evaluators.scores import PairScores, UnpairedScores
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray, Metric
from evaluators.uncertainty import clustered_error, normal_quantile

NAME = "comparison"
VERSION = 2
# Below this a p-value from the transform is rounding: it is stated as this at most.
_LEAST_P = 1e-12
# Half steps up to which the randomisation test is exact: the transform then takes well under a second.
_MOST_EXACT = 200_000

AnyScores = TypeVar("AnyScores", PairScores, UnpairedScores)


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Every two models: differences in accuracy and margin, exact tests, the least effect that can be found.

    With several comparisons the p-values of each test are corrected by Holm's method.
    """
    pairs = to_compare(scores, settings.baseline)
    by_row = holm([mcnemar_exact(model.wins, other.wins) for model, other in pairs])
    by_group = holm([sign_flip_exact(model.groups.sums(model.wins - other.wins)) for model, other in pairs])
    found: list[Draft] = []
    for (model, other), of_rows, of_groups in zip(pairs, by_row, by_group, strict=True):
        found += _differences(model, other)
        found += _tests(model, other, of_rows, of_groups, len(pairs))
        found.append(_least_effect(model, other, model.wins - other.wins, settings))
    return found


def to_compare(scores: Sequence[AnyScores], baseline: str) -> list[tuple[AnyScores, AnyScores]]:
    """Every two models, the baseline second where it is one of them, else the earlier name."""
    ordered = sorted(scores, key=lambda one: (one.model != baseline, one.model))
    return [(model, other) for place, model in enumerate(ordered) for other in ordered[:place]]


def _differences(model: PairScores, baseline: PairScores) -> list[Draft]:
    differences = {
        "accuracy_difference": (model.wins - baseline.wins, "share"),
        "margin_difference": (model.margins - baseline.margins, "reward"),
    }
    return [
        Estimand(
            NAME,
            VERSION,
            name,
            model.model,
            unit,
            [model.groups.sums(values), model.groups.sums(np.ones_like(values))],
            share,
            values.shape[0],
            compared_with=baseline.model,
        )
        for name, (values, unit) in differences.items()
    ]


def _tests(model: PairScores, baseline: PairScores, of_rows: float, of_groups: float, tests: int) -> list[Draft]:
    difference = model.wins - baseline.wins
    corrected = f"; corrected for {tests} comparisons" if tests > 1 else ""
    found: list[Draft] = []
    for name, p_value, changes, what in (
        ("mcnemar_p", of_rows, difference, "pairs"),
        ("sign_flip_p", of_groups, model.groups.sums(difference), "prompt groups"),
    ):
        better, worse = int((changes > 0).sum()), int((changes < 0).sum())
        total = difference.shape[0] if what == "pairs" else model.groups.present()
        words = f"{better} {what} better, {worse} worse, {total - better - worse} the same{corrected}"
        n, groups = difference.shape[0], model.groups.present()
        found.append(_metric(model, baseline, name, p_value, "probability", n, groups, words))
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
    pairs of one prompt are not: it claims too much there, and `sign_flip_exact` is the test to believe.

    Source: McNemar (1947); with ties as a change of half a pair it is the sign test.
    """
    better = int((wins > baseline_wins).sum())
    changed = better + int((wins < baseline_wins).sum())
    return 1.0 if changed == 0 else float(stats.binomtest(better, changed).pvalue)


def sign_flip_exact(changes: FloatArray) -> float:
    """Two-sided p-value that prompt groups change for the better as much as for the worse.

    Under the null the two models' answers are exchangeable within a prompt, so a group's change is as likely with
    either sign, whatever its pairs have in common. The sum of changes over all choices of signs has the
    characteristic function prod cos(t d_g), which one inverse transform turns into probabilities. With one pair a
    group and no ties it is McNemar's exact test. G groups that all change alike have 2^(1-G), the least p-value that
    so few groups can give.

    Args:
        changes: (groups,) sums of the pairs' changes, multiples of 1/2.

    Source: Fisher's randomisation test; Pagano and Tritchler (1983) for the transform. Above `_MOST_EXACT` half steps
    the normal approximation to the same distribution is used. Nothing below `_LEAST_P` is stated.
    """
    steps = np.abs(np.rint(2 * changes)).astype(np.int64)
    observed, most = abs(int(np.rint(2 * changes).sum())), int(steps.sum())
    if observed == 0:
        return 1.0
    if most > _MOST_EXACT:
        spread = np.sqrt(float((steps.astype(np.float64) ** 2).sum()))
        return max(_LEAST_P, float(2 * stats.norm.sf(observed / spread)))
    angles = np.pi * np.arange(most + 1) / (most + 1)
    sizes, counts = np.unique(steps[steps > 0], return_counts=True)
    product = np.ones(most + 1)
    for size, count in zip(sizes, counts, strict=True):
        product *= np.cos(angles * size) ** int(count)
    # Sums have the parity of `most`: they are most - 2k for k = 0 to most, which these frequencies tell apart.
    sums = most - 2 * np.arange(most + 1)
    chances = np.fft.fft(product * np.exp(1j * angles * most)).real / (most + 1)
    return float(np.clip(chances[np.abs(sums) >= observed].sum(), _LEAST_P, 1.0))


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
