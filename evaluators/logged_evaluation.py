"""What share of a model's answers would be marked desirable, from answers that the reference wrote and people marked.

Each logged answer counts by how much more likely the model is to write it than the reference was. That holds where the
reference wrote the logged answers, and says something where the two are alike: the effective sample size tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .estimands import Source, difference_of_means, share
from .groups import BoolArray
from .scores import UnpairedScores
from .types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "logged_evaluation"
VERSION = 1
# In place of names of models: every logged answer is the reference's.
ALL = "all"
LOGGED = "logged answers"
# Weights whose logarithm is above this have no mean that a float can hold.
_LARGEST_LOG = 700.0


def drafts(scores: Sequence[UnpairedScores], settings: EvaluationSettings) -> list[Draft]:
    """`rate` and `rate_difference` to the logged answers' own rate, with what they rest on.

    An answer's weight is pi(y|x) / pi_ref(y|x), from summed log-probs; the rate is the weighted share of desirable
    answers. `effective_groups` is Kish's effective number of prompt groups; below
    `EvaluationSettings.least_effective_groups` both numbers are None, and the reason says so. `mean_weight` is near 1
    where the reference did write the answers, as it is scored: far from it, the estimate is of something else.

    Source: Hesterberg (1995), self-normalised importance sampling; Kish (1965) for the effective size; Ionides (2008)
    for clipped weights, which are used only where `EvaluationSettings.clip_weights` says so.
    """
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        rows = _written_by_reference(model, settings)
        if isinstance(rows, str) or model.reference_logps is None:
            reason = rows if isinstance(rows, str) else "there are no reference log-probs to weigh the answers by"
            metrics.append(source.metric("rate", None, "share", reason))
        else:
            metrics += _of_model(source, model, _weights(model.logps - model.reference_logps, rows, settings), settings)
    return metrics


def _written_by_reference(model: UnpairedScores, settings: EvaluationSettings) -> BoolArray | str:
    """Which rows are answers of the reference, or why that cannot be said."""
    names = settings.reference_answers
    if not names:
        return (
            "it is not said which logged answers the reference wrote: metrics.reference_answers takes the names of "
            f"their models (column response_model), or `{ALL}`"
        )
    if names == (ALL,):
        return np.ones(model.labels.shape[0], dtype=bool)
    if model.response_models is None:
        return f"the rows have no column response_model, in which to look for {', '.join(names)}"
    rows = model.response_models.is_in(names).fill_null(value=False).to_numpy()
    if not rows.any():
        known = model.response_models.drop_nulls().unique().sort().to_list()
        return f"no held-out answer is by {', '.join(names)}; there are {', '.join(known) or 'none with a name'}"
    return np.asarray(rows)


class _Weights(NamedTuple):
    """Weights of logged answers.

    Attributes:
        rows: (rows,) which answers are the reference's.
        relative: (rows,) weights over the greatest of them; 0 outside the rows.
        log_greatest: Logarithm of the greatest.
        clipped: How many were clipped.
    """

    rows: BoolArray
    relative: FloatArray
    log_greatest: float
    clipped: int


def _weights(log_ratios: FloatArray, rows: BoolArray, settings: EvaluationSettings) -> _Weights:
    most = np.inf if settings.clip_weights is None else np.log(settings.clip_weights)
    logs = np.minimum(log_ratios, most)
    greatest = float(logs[rows].max())
    relative = np.where(rows, np.exp(np.minimum(logs - greatest, 0.0)), 0.0)
    return _Weights(rows, relative, greatest, int(np.count_nonzero(log_ratios[rows] > most)))


def _of_model(source: Source, model: UnpairedScores, weights: _Weights, settings: EvaluationSettings) -> list[Draft]:
    by_group = model.groups.sums(weights.relative)
    groups = model.groups.present(weights.rows)
    effective = float(by_group.sum() ** 2 / (by_group**2).sum())
    where: dict[str, Any] = {"n": int(np.count_nonzero(weights.rows)), "n_groups": groups}
    desirable = model.labels.astype(np.float64)
    clipped = None
    if settings.clip_weights is not None:
        clipped = f"{weights.clipped:,} of {where['n']:,} weights clipped at {settings.clip_weights:g}"
    told: list[Draft] = [
        source.metric("effective_groups", effective, "prompt groups", clipped, **where),
        source.metric("effective_share", effective / groups, "share", **where),
        source.metric("largest_weight_share", float(by_group.max() / by_group.sum()), "share", **where),
        _mean_weight(source, weights),
        source.mean("logged_rate", desirable, "share", weights.rows, proportion=True),
    ]
    if effective < settings.least_effective_groups:
        reason = (
            f"the logged answers are worth {effective:.1f} prompt groups of {groups:,} under this model, fewer than "
            f"the {settings.least_effective_groups} of metrics.least_effective_groups: it writes too different ones"
        )
        refused = source.metric("rate_difference", None, "share", reason, compared_with=LOGGED, **where)
        return [*told, source.metric("rate", None, "share", reason, **where), refused]
    return [*told, *_estimates(source, weights, desirable, int(effective), clipped)]


def _mean_weight(source: Source, weights: _Weights) -> Draft:
    if weights.log_greatest > _LARGEST_LOG:
        return source.metric("mean_weight", None, "ratio", "the greatest weight is too large to be a number")
    return source.mean("mean_weight", weights.relative * np.exp(weights.log_greatest), "ratio", weights.rows)


def _estimates(
    source: Source, weights: _Weights, desirable: FloatArray, effective: int, note: str | None
) -> list[Estimand]:
    """The weighted share, and what it is above the plain one; intervals are as sure as there are effective groups."""
    groups = source.groups
    weighted = [groups.unit_sums(weights.relative * desirable, weights.rows), groups.unit_sums(weights.relative)]
    plain = [groups.unit_sums(desirable, weights.rows), groups.unit_counts(weights.rows)]
    fields: dict[str, Any] = {
        "evaluator": source.evaluator,
        "version": source.version,
        "model": source.model,
        "unit": "share",
        "n": int(np.count_nonzero(weights.rows)),
        "n_groups": groups.present(weights.rows),
        "fewest": effective,
        "note": note,
    }
    return [
        Estimand(metric="rate", columns=weighted, formula=share, proportion=True, **fields),
        Estimand(
            metric="rate_difference",
            columns=[*weighted, *plain],
            formula=difference_of_means,
            compared_with=LOGGED,
            **fields,
        ),
    ]
