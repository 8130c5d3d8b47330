"""Bradley-Terry ratings: log odds of models to be preferred, from judged pairs of any two of them.

A rating is of the maximum of the likelihood, without a prior. Where that has no bound (a model that only won) there is
no number, and `bounds` says which way it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse, special
from scipy.sparse import csgraph

from .groups import BoolArray, Groups, IntArray
from .types import EvaluationSettings, FloatArray
from .uncertainty import resampled_counts

# Points of a rating a unit of log odds: 400 for odds of ten, as in chess.
POINTS = 400.0 / np.log(10.0)
# A model of even odds with the one that ratings are against.
ORIGIN = 1000.0
_STEPS = 100
# The greatest step of log odds: far from the maximum a full Newton step can throw the fit away.
_LONGEST_STEP = 2.0
_CLOSE = 1e-10
# Beyond this the likelihood is flat to a float, and a fit says nothing.
_MOST_LOG_ODDS = 30.0
_DIGITS = 9
# Numbers held at a time for the matrices of resamples: 16 MiB.
_BLOCK_NUMBERS = 2_000_000


class Comparisons(NamedTuple):
    """Judged pairs of models, every array (pairs,).

    Attributes:
        first: Number of one model.
        second: Number of the other.
        preference: How far the first is preferred, in [0, 1]; a tie is one half.
        models: How many models there are.
        groups: Prompt groups of the pairs.
    """

    first: IntArray
    second: IntArray
    preference: FloatArray
    models: int
    groups: Groups


class Ratings(NamedTuple):
    """Log odds of each model against the anchor.

    Attributes:
        rated: (models,) which have a rating.
        log_odds: (models,) 0 for the anchor, NaN without a rating.
        errors: (models,) standard errors clustered by prompt group; NaN without a rating.
        draws: (draws, models) ratings of resampled groups; NaN where a resample determines none.
    """

    rated: BoolArray
    log_odds: FloatArray
    errors: FloatArray
    draws: FloatArray


def rate(pairs: Comparisons, anchor: int, settings: EvaluationSettings) -> Ratings:
    """Ratings of all models that the anchor is tied to by chains of wins and of losses.

    Args:
        pairs: Judged pairs.
        anchor: Number of the model that ratings are against.
        settings: Draws and seed.

    Source: Bradley and Terry (1952); Ford (1957) for when the maximum exists; ties as half a win of each. The error is
    the sandwich, with scores summed within a prompt group (Liang and Zeger, 1986), with the factor G / (G - 1).
    """
    wins = win_counts(pairs)
    rated = tied_to(wins, anchor)
    log_odds = _fitted(wins[None], rated, anchor, np.zeros(pairs.models))[0]
    errors = _errors(pairs, wins, rated, anchor, log_odds)
    draws = np.concatenate(list(_draws(pairs, rated, anchor, log_odds, settings)))
    return Ratings(rated, log_odds, errors, draws)


def win_counts(pairs: Comparisons) -> FloatArray:
    """(models, models) how often the model of a row was preferred to that of a column; ties half."""
    counts = np.zeros((pairs.models, pairs.models))
    np.add.at(counts, (pairs.first, pairs.second), pairs.preference)
    np.add.at(counts, (pairs.second, pairs.first), 1.0 - pairs.preference)
    return counts


def tied_to(wins: FloatArray, anchor: int) -> BoolArray:
    """(models,) which models both lead to the anchor and are led to from it by wins: those with finite ratings."""
    _, part = csgraph.connected_components(wins > 0, directed=True, connection="strong")
    return np.asarray(part == part[anchor])


def bounds(wins: FloatArray, anchor: int) -> list[str | None]:
    """Why each model has no rating; None where it has one."""
    beaten = _reached(wins > 0, anchor)
    beating = _reached((wins > 0).T, anchor)
    met = _reached(wins + wins.T > 0, anchor)
    reasons = {
        (False, False): "it has no comparison, direct or through others, with the model that ratings are against",
        (True, False): "no win of it, direct or through others, over the rated models: its rating has no lower bound",
        (False, True): "no loss of it, direct or through others, to the rated models: its rating has no upper bound",
    }
    unclear = "neither wins nor losses lead from the rated models to it"
    return [
        None if down and up else unclear if known and not (down or up) else reasons[down, up]
        for down, up, known in zip(beaten.tolist(), beating.tolist(), met.tolist(), strict=True)
    ]


def _reached(leads: BoolArray, start: int) -> BoolArray:
    found = np.zeros(leads.shape[0], dtype=bool)
    found[csgraph.breadth_first_order(leads, start, return_predecessors=False)] = True
    return found


def _fitted(wins: FloatArray, rated: BoolArray, anchor: int, start: FloatArray) -> FloatArray:
    """(sets, models) log odds of sets of (sets, models, models) wins; NaN for models that are not rated.

    All rated models of a set are tied to each other. A set whose fit does not come to rest is NaN.
    """
    free = rated.copy()
    free[anchor] = False
    theta = np.full((wins.shape[0], wins.shape[1]), np.nan)
    theta[:, anchor] = 0.0
    if not free.any():
        return theta
    order = np.append(np.flatnonzero(free), anchor)
    won = wins[:, order[:, None], order[None, :]]
    odds = np.zeros((wins.shape[0], order.shape[0]))
    odds[:, :-1] = start[order[:-1]]
    theta[:, order] = _newton(won, odds)
    return np.round(theta, _DIGITS)


def _newton(won: FloatArray, odds: FloatArray) -> FloatArray:
    """Log odds of the last model stay 0; the sets that have come to rest are left alone."""
    met = won + won.transpose(0, 2, 1)
    moving = np.arange(won.shape[0])
    for _ in range(_STEPS):
        at = odds[moving]
        chance = special.expit(at[:, :, None] - at[:, None, :])
        slope = (won[moving] - met[moving] * chance).sum(axis=2)[:, :-1]
        curve = met[moving] * chance * (1.0 - chance)
        matrix = -curve[:, :-1, :-1]
        places = np.arange(matrix.shape[1])
        matrix[:, places, places] += curve.sum(axis=2)[:, :-1]
        # Curvature that rounds to 0, on the way to a bound that is not there, must not stop the other sets.
        step = np.linalg.solve(matrix + 1e-14 * np.eye(matrix.shape[1]), slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1)
        odds[moving, :-1] = at[:, :-1] + step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))[:, None]
        lost = np.abs(odds[moving]).max(axis=1) > _MOST_LOG_ODDS
        odds[moving[lost], :-1] = np.nan
        moving = moving[~lost & (longest > _CLOSE)]
        if not moving.size:
            return odds
    odds[moving, :-1] = np.nan
    return odds


def _errors(pairs: Comparisons, wins: FloatArray, rated: BoolArray, anchor: int, log_odds: FloatArray) -> FloatArray:
    errors = np.full(pairs.models, np.nan)
    errors[anchor] = 0.0
    free = np.flatnonzero(rated & (np.arange(pairs.models) != anchor))
    inside = rated[pairs.first] & rated[pairs.second]
    present = pairs.groups.present(inside)
    if not free.size or present < 2:
        return errors
    first, second, unit = pairs.first[inside], pairs.second[inside], pairs.groups.unit[inside]
    surprise = pairs.preference[inside] - special.expit(log_odds[first] - log_odds[second])
    scores = np.zeros((pairs.groups.unit_count, pairs.models))
    np.add.at(scores, (unit, first), surprise)
    np.add.at(scores, (unit, second), -surprise)
    chance = special.expit(log_odds[free, None] - log_odds[None, rated])
    met = (wins + wins.T)[np.ix_(free, np.flatnonzero(rated))]
    curve = met * chance * (1.0 - chance)
    matrix = np.diag(curve.sum(axis=1)) - _columns_of(curve, rated, free)
    influence = np.linalg.solve(matrix, scores[:, free].T)
    errors[free] = np.sqrt(present / (present - 1) * (influence**2).sum(axis=1))
    return errors


def _columns_of(curve: FloatArray, rated: BoolArray, free: IntArray) -> FloatArray:
    """Of a (free, rated) matrix the columns of the free models."""
    return curve[:, np.searchsorted(np.flatnonzero(rated), free)]


def _draws(
    pairs: Comparisons, rated: BoolArray, anchor: int, log_odds: FloatArray, settings: EvaluationSettings
) -> Iterator[FloatArray]:
    """Blocks of (draws, models) ratings of resampled units."""
    sums = _sums_by_unit(pairs)
    generator = np.random.default_rng(settings.seed)
    size = max(1, _BLOCK_NUMBERS // pairs.models**2)
    for counts in resampled_counts(pairs.groups.unit_count, settings.bootstrap_draws, generator):
        for start in range(0, counts.shape[0], size):
            totals = sums.T.dot(counts[start : start + size].T).T
            yield _refitted(totals.reshape(-1, pairs.models, pairs.models), rated, anchor, log_odds)


def _sums_by_unit(pairs: Comparisons) -> sparse.csr_array:
    """(units, models * models) wins of each unit of resampling."""
    unit = np.concatenate([pairs.groups.unit, pairs.groups.unit])
    place = np.concatenate([pairs.first * pairs.models + pairs.second, pairs.second * pairs.models + pairs.first])
    wins = np.concatenate([pairs.preference, 1.0 - pairs.preference])
    # Nothing added to a pair that one side only won: it must stay without a win of the other.
    kept = wins > 0
    shape = (pairs.groups.unit_count, pairs.models**2)
    return sparse.csr_array(sparse.coo_array((wins[kept], (unit[kept], place[kept])), shape=shape))


def _refitted(wins: FloatArray, rated: BoolArray, anchor: int, log_odds: FloatArray) -> FloatArray:
    """(sets, models) ratings: in most sets the same models are tied to the anchor, and those are fitted together."""
    inside = np.where(rated[:, None] & rated[None, :], wins, 0.0)
    tied = np.array([tied_to(one, anchor) for one in inside])
    theta = np.full(wins.shape[:2], np.nan)
    start = np.where(rated, log_odds, 0.0)
    patterns, which = np.unique(tied, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        sets = np.flatnonzero(which.ravel() == number)
        among = np.where(pattern[:, None] & pattern[None, :], inside[sets], 0.0)
        theta[sets] = _fitted(among, pattern, anchor, start)
    return theta
