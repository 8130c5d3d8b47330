"""Ratings of judged models: log odds against one of them, in the points that people know from chess."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .bradley_terry import ORIGIN, POINTS, Ratings, bounds, rate, win_counts
from .estimands import ONE_GROUP
from .judged_rows import Judged, comparisons_of, source_of
from .types import EvaluationSettings, Metric
from .uncertainty import no_spread, percentiles

NAME: Final = "bradley_terry"
VERSION: Final = 1


def ratings_of(judged: Judged, settings: EvaluationSettings) -> list[Metric]:
    """`rating` of each model, in points: 400 for odds of ten, and 1000 for the model that it is against."""
    ratings = rate(judged.pairs, judged.anchor, settings)
    why = bounds(win_counts(judged.pairs), judged.anchor)
    return [_rating(judged, model, ratings, why[model], settings) for model in range(len(judged.names))]


def _rating(judged: Judged, model: int, ratings: Ratings, why: str | None, settings: EvaluationSettings) -> Metric:
    source = source_of(judged, model, NAME)
    rows = comparisons_of(judged, model).rows
    groups = source.groups.present(rows)
    where: dict[str, Any] = {"n": int(np.count_nonzero(rows)), "n_groups": groups}
    if model == judged.anchor:
        return source.metric("rating", ORIGIN, "points", "the model that ratings are against", **where)
    if why is not None or not np.isfinite(ratings.log_odds[model]):
        return source.metric("rating", None, "points", why or "the fit did not come to rest", **where)
    value = float(ORIGIN + POINTS * ratings.log_odds[model])
    draws = ORIGIN + POINTS * ratings.draws[:, model]
    known = draws[np.isfinite(draws)]
    if groups < 2:
        return source.metric("rating", value, "points", ONE_GROUP, **where)
    refusal = no_spread(known, draws.shape[0])
    if refusal is not None:
        return source.metric("rating", value, "points", refusal, **where)
    low, high = percentiles(known, groups, settings.confidence)
    error = float(POINTS * ratings.errors[model])
    return source.metric("rating", value, "points", ci_low=low, ci_high=high, standard_error=error, **where)
