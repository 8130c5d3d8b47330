"""Comparison of models on the same held-out unpaired rows: difference in AUC and its test, and rows they differ on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .auc import Auc, clustered_auc
from .estimands import ONE_GROUP, ONE_GROUP_OF_A_KIND, Source, difference_of_means, mean_of_two_shares
from .paired_tests import (
    changes_tests,
    holm,
    least_effect,
    mcnemar_exact,
    sign_flip_exact,
    t_test,
    to_compare,
    told_errors,
)
from .scores import UnpairedScores
from .types import Draft, EvaluationSettings, Metric
from .uncertainty import LEAST_ERROR, clustered_error, t_quantile
from .unpaired_auc import ONE_CLASS

NAME = "unpaired_comparison"
VERSION = 2
_UNITS = ("share", "probability")
_AGREE = "no interval: all prompt groups changed alike, so they show no spread"


class _Gap(NamedTuple):
    """A difference of two AUCs.

    Attributes:
        value: The difference.
        error: Its clustered standard error; None where there is none.
        p_value: Two-sided, of no difference; None where there is none.
        fewest: Prompt groups of the rarer class.
    """

    value: float
    error: float | None
    p_value: float | None
    fewest: int


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """Every two models: differences in AUC, balanced accuracy and separation, tests, the least effect in AUC.

    McNemar's test and the test by prompt group are of rows whose reward is on the label's side of 0. With several
    comparisons the p-values of each test are corrected by Holm's method.
    """
    compared = to_compare(scores, settings.baseline)
    aucs = {
        model.model: clustered_auc(model.rewards, model.labels, np.argsort(model.rewards, kind="stable"))
        for model in (scores if compared else ())
    }
    gaps = [_gap(model, aucs[model.model], aucs[other.model]) for model, other in compared]
    by_auc = _holm_of_known([None if gap is None else gap.p_value for gap in gaps])
    changes = [model.wins - other.wins for model, other in compared]
    by_row = holm([mcnemar_exact(model.wins, other.wins) for model, other in compared])
    by_group = holm(
        [sign_flip_exact(model.groups.sums(change)) for (model, _), change in zip(compared, changes, strict=True)]
    )
    metrics: list[Draft] = []
    for index, (model, other) in enumerate(compared):
        source = Source(NAME, VERSION, model.model, model.groups, other.model)
        metrics += _of_auc(source, gaps[index], by_auc[index], len(compared), settings)
        metrics += _other_differences(source, model, other)
        metrics += changes_tests(source, changes[index], by_row[index], by_group[index], len(compared), "rows")
    return metrics


def _gap(model: UnpairedScores, after: Auc | None, before: Auc | None) -> _Gap | None:
    """The difference in AUC, its error and its test; None where one class is absent.

    The error is of the difference of the rows' influences, because the two AUCs share rows and rows of one prompt
    belong together; the test has as many groups as the rarer class.

    Source: Obuchowski (1997) for clustered curves; DeLong et al. (1988) for two curves on the same rows.
    """
    if after is None or before is None:
        return None
    value = after.value - before.value
    fewest = min(model.groups.present(model.labels), model.groups.present(~model.labels))
    error = clustered_error(after.influence - before.influence, model.groups, fewest)
    return _Gap(value, error, None if error is None else t_test(value, error, fewest), fewest)


def _of_auc(
    source: Source, gap: _Gap | None, p_value: float | None, comparisons: int, settings: EvaluationSettings
) -> list[Metric]:
    names = ("auc_difference", "auc_difference_p")
    if gap is None:
        return [source.metric(name, None, unit, ONE_CLASS) for name, unit in zip(names, _UNITS, strict=True)]
    least = least_effect(source, gap.error, gap.fewest, "AUC", settings)
    if gap.error is None:
        refusal = ONE_GROUP if source.groups.present() < 2 else ONE_GROUP_OF_A_KIND
        return [
            source.metric(names[0], gap.value, _UNITS[0], refusal),
            source.metric(names[1], None, _UNITS[1], refusal.replace("interval", "test")),
            least,
        ]
    words = told_errors(source)
    words += f"; corrected for {comparisons} comparisons" if comparisons > 1 else ""
    tested = source.metric(names[1], p_value, _UNITS[1], words)
    if gap.error < LEAST_ERROR:
        return [source.metric(names[0], gap.value, _UNITS[0], _AGREE), tested, least]
    reach = t_quantile(0.5 + settings.confidence / 2, gap.fewest) * gap.error
    low, high = max(-1.0, gap.value - reach), min(1.0, gap.value + reach)
    told = source.metric(names[0], gap.value, _UNITS[0], ci_low=low, ci_high=high, standard_error=gap.error)
    return [told, tested, least]


def _other_differences(source: Source, model: UnpairedScores, other: UnpairedScores) -> list[Draft]:
    moved = model.rewards - other.rewards
    return [
        source.two_means(
            "balanced_accuracy_zero_difference",
            (model.wins - other.wins, model.wins - other.wins),
            (model.labels, ~model.labels),
            unit="share",
            formula=mean_of_two_shares,
            undefined=ONE_CLASS,
        ),
        source.two_means(
            "separation_difference",
            (moved, moved),
            (model.labels, ~model.labels),
            unit="reward",
            formula=difference_of_means,
            undefined=ONE_CLASS,
        ),
    ]


def _holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of the p-values that there are."""
    corrected = iter(holm([value for value in p_values if value is not None]))
    return [None if value is None else next(corrected) for value in p_values]
