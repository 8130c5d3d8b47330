"""Tests of two models on the same rows, the correction for several, and the least effect that can be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy import special

from .estimands import ONE_GROUP, Source
from .groups import IntArray
from .scores import PairScores, UnpairedScores
from .types import EvaluationSettings, FloatArray, Metric
from .uncertainty import LEAST_ERROR, t_quantile

# Below this a p-value from the transform is rounding: it is stated as this at most.
_LEAST_P = 1e-12
# Half steps up to which the randomisation test is exact: the transform then takes well under a second.
_MOST_EXACT = 200_000
# Fractions that changes are looked for in, those of a few answers a prompt among them: 1/16 for four against four.
_MOST_PARTS = 1_024
# Changes that are no such fractions are rounded to this many steps in all, where they are no more than this many.
_GRID = 20_000
_MOST_ON_GRID = 200

AnyScores = TypeVar("AnyScores", PairScores, UnpairedScores)


def to_compare(scores: Sequence[AnyScores], baseline: str) -> list[tuple[AnyScores, AnyScores]]:
    """Every two models, the baseline second where it is one of them, else the earlier name."""
    ordered = sorted(scores, key=lambda one: (one.model != baseline, one.model))
    return [(model, other) for index, model in enumerate(ordered) for other in ordered[:index]]


def changes_tests(
    source: Source, difference: FloatArray, of_rows: float, of_groups: float, comparisons: int, rows: str
) -> list[Metric]:
    """`mcnemar_p` and `sign_flip_p` with what they counted.

    Args:
        source: Whose metrics they are.
        difference: (rows,) change of each row's score, from -1 to 1.
        of_rows: Corrected p-value of McNemar's test.
        of_groups: Corrected p-value of the test by prompt group.
        comparisons: How many comparisons they are corrected for.
        rows: What a row is called, in the plural.
    """
    corrected = f"; corrected for {comparisons} comparisons" if comparisons > 1 else ""
    metrics: list[Metric] = []
    for name, p_value, changes, what, total in (
        ("mcnemar_p", of_rows, difference, rows, difference.shape[0]),
        ("sign_flip_p", of_groups, source.groups.sums(difference), "prompt groups", source.groups.present()),
    ):
        better, worse = int((changes > 0).sum()), int((changes < 0).sum())
        words = f"{better} {what} better, {worse} worse, {total - better - worse} the same{corrected}"
        metrics.append(source.metric(name, p_value, "probability", words))
    return metrics


def mcnemar_exact(wins: FloatArray, baseline_wins: FloatArray) -> float:
    """Two-sided p-value that pairs change for the better as often as for the worse.

    A pair changes when its score (1, 1/2 at a tie, 0) does. Pairs that do not change say nothing, and under the null
    the changed ones are coin flips; without ties this is McNemar's exact test. It takes pairs as independent, which
    pairs of one prompt are not: it claims too much there, and `sign_flip_exact` is the test to believe.

    Source: McNemar (1947); with ties as a change of half a pair it is the sign test.
    """
    better = int((wins > baseline_wins).sum())
    changed = better + int((wins < baseline_wins).sum())
    # Coin flips: both tails are one, and at the middle they meet.
    return min(1.0, 2 * float(special.bdtr(min(better, changed - better), changed, 0.5)))


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
        return max(_LEAST_P, float(2 * special.ndtr(-observed / spread)))
    return max(_LEAST_P, _chance_of(steps, observed))


def _chance_of(steps: IntArray, least: float) -> float:
    """The share of all choices of signs whose sum of steps is at least so far from 0."""
    most = int(steps.sum())
    angles = np.pi * np.arange(most + 1) / (most + 1)
    sizes, counts = np.unique(steps[steps > 0], return_counts=True)
    product = np.ones(most + 1)
    for size, count in zip(sizes, counts, strict=True):
        product *= np.cos(angles * size) ** int(count)
    # Sums have the parity of `most`: they are most - 2k for k = 0 to most, which these frequencies tell apart.
    sums = most - 2 * np.arange(most + 1)
    chances = np.fft.fft(product * np.exp(1j * angles * most)).real / (most + 1)
    return float(np.clip(chances[np.abs(sums) >= least].sum(), 0.0, 1.0))


def sign_flip(changes: FloatArray) -> float:
    """The randomisation test of `sign_flip_exact` for changes of any size.

    Fractions of one denominator, such as shares of an equal number of comparisons, are tested exactly. Other changes
    are rounded to a grid, with a slack for the rounding that makes the p-value the larger; of many, the normal
    approximation is used.

    Args:
        changes: (groups,) sums of changes.
    """
    total = float(np.abs(changes).sum())
    if total == 0.0:
        return 1.0
    changed = int(np.count_nonzero(changes))
    least = max(_LEAST_P, 2.0 ** (1 - changed))
    for parts in range(1, _MOST_PARTS + 1):
        if bool(np.all(np.abs(changes * parts - np.rint(changes * parts)) < 1e-9 * parts)):
            return max(least, sign_flip_exact(np.rint(changes * parts) / 2.0))
    if changed > _MOST_ON_GRID:
        spread = float(np.sqrt(np.sum(changes**2)))
        return max(least, float(2 * special.ndtr(-abs(float(changes.sum())) / spread)))
    steps = np.rint(changes / total * _GRID)
    slack = min(float(np.sqrt(changed)), abs(float(steps.sum())))
    return max(least, _chance_of(np.abs(steps).astype(np.int64), abs(float(steps.sum())) - slack))


def t_test(value: float, error: float, groups: int) -> float:
    """Two-sided p-value of a value that would be 0, by Student's t with one degree of freedom less than groups.

    It never claims more than a test that exchanges two models (or two labels) by prompt group can: 2 of 2^G exchanges
    are as far apart when all G groups agree.
    """
    if abs(value) < LEAST_ERROR:
        return 1.0
    least = 2.0 ** (1 - groups)
    return least if error < LEAST_ERROR else max(least, 2 * float(special.stdtr(groups - 1, -abs(value) / error)))


def told_errors(source: Source) -> str:
    """What a p-value of `t_test` rests on."""
    return f"errors clustered by {source.groups.present()} prompt groups"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number. Source: Holm (1979)."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def least_effect(source: Source, error: float | None, groups: int, what: str, settings: EvaluationSettings) -> Metric:
    """`minimum_detectable_effect` of a difference with this standard error, or why there is none."""
    name = "minimum_detectable_effect"
    if error is None:
        return source.metric(name, None, "share", ONE_GROUP.replace("interval", "standard error"))
    if error < LEAST_ERROR:
        # A spread of nothing would claim that any effect, however small, is found.
        words = "all prompt groups changed alike, so the spread of the difference is not known"
        return source.metric(name, None, "share", words)
    effect = minimum_detectable_effect(error, groups, settings)
    return source.metric(name, effect, "share", f"in {what}, at power {settings.power:g}")


def minimum_detectable_effect(error: float, groups: int, settings: EvaluationSettings) -> float:
    """The difference that a test of this size finds with the stated power, from its standard error.

    Source: Bloom (1995), "Minimum detectable effects": the sum of the two quantiles of Student's t.
    """
    return (t_quantile(0.5 + settings.confidence / 2, groups) + t_quantile(settings.power, groups)) * error
