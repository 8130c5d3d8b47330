"""Comparison of models on the same held-out pairs: differences, exact tests, and what this test set can show."""

from __future__ import annotations

from collections.abc import Sequence

from .estimands import Source
from .paired_tests import changes_tests, holm, least_effect, mcnemar_exact, sign_flip_exact, to_compare
from .scores import PairScores
from .types import Draft, EvaluationSettings
from .uncertainty import clustered_error

NAME = "comparison"
VERSION = 3


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Every two models: differences in accuracy and margin, exact tests, the least effect that can be found.

    With several comparisons the p-values of each test are corrected by Holm's method.
    """
    compared = to_compare(scores, settings.baseline)
    changes = [model.wins - other.wins for model, other in compared]
    by_row = holm([mcnemar_exact(model.wins, other.wins) for model, other in compared])
    by_group = holm(
        [sign_flip_exact(model.groups.sums(change)) for (model, _), change in zip(compared, changes, strict=True)]
    )
    metrics: list[Draft] = []
    for (model, other), change, of_rows, of_groups in zip(compared, changes, by_row, by_group, strict=True):
        source = Source(NAME, VERSION, model.model, model.groups, other.model)
        metrics.append(source.mean("accuracy_difference", change, "share"))
        metrics.append(source.mean("margin_difference", model.margins - other.margins, "reward"))
        metrics += changes_tests(source, change, of_rows, of_groups, len(compared), "pairs")
        error = clustered_error((change - change.mean()) / change.shape[0], model.groups)
        metrics.append(least_effect(source, error, model.groups.present(), "accuracy", settings))
    return metrics
