"""One model's answers against another's to the same prompt: shares of comparisons that it wins, ties and loses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .answers import ModelAnswers
from .groups import BoolArray, IntArray
from .types import FloatArray

# Others that each answer is compared with where pairs of answers are needed one by one.
_MOST_OTHERS = 4


class LengthPairs(NamedTuple):
    """Pairs of answers one by one, as the length-controlled win rate reads them.

    Attributes:
        prompt: (pairs,) number of the prompt.
        preferences: (pairs,) 1 where the model's answer is better, 1/2 at a tie.
        length_differences: (pairs,) characters of the model's answer less those of the other.
        weights: (pairs,) one over the prompt's pairs, so that each prompt counts once.
    """

    prompt: IntArray
    preferences: FloatArray
    length_differences: FloatArray
    weights: FloatArray


class Comparisons(NamedTuple):
    """Shares of each prompt's comparisons; every array is (prompts,), 0 where there is no comparison.

    Attributes:
        wins: That the model's answer wins.
        ties: That neither does.
        losses: That the other's answer wins.
        shares: Wins and half of the ties; or the mean preference of a judge that gives shares.
        counts: The model's judged answers that were compared.
        pairs: The same one by one, or some of them.
    """

    wins: FloatArray
    ties: FloatArray
    losses: FloatArray
    shares: FloatArray
    counts: FloatArray
    pairs: LengthPairs

    @property
    def rows(self) -> BoolArray:
        """(prompts,) which prompts have a comparison."""
        return self.counts > 0


def all_against_all(
    model: ModelAnswers, scores: FloatArray, other: ModelAnswers, other_scores: FloatArray
) -> Comparisons:
    """Each of a prompt's answers against each of the other model's answers to it, by their scores.

    The mean over all pairs is the U-statistic of Mann and Whitney within the prompt; it is counted by sorting.

    Args:
        model: The answers of one model.
        scores: (answers,) their scores, NaN where there is none.
        other: The answers of the other.
        other_scores: (answers,) their scores.
    """
    ours, theirs = ~np.isnan(scores), ~np.isnan(other_scores)
    # One number for prompt and rank of score, so that one sorted array holds all prompts.
    ranks = np.unique(np.concatenate([scores[ours], other_scores[theirs]]), return_inverse=True)[1].astype(np.int64)
    span = int(ranks.max(initial=0)) + 1
    mine = model.prompt[ours] * span + ranks[: int(ours.sum())]
    theirs_sorted = np.sort(other.prompt[theirs] * span + ranks[int(ours.sum()) :])
    first = np.searchsorted(theirs_sorted, model.prompt[ours] * span)
    below, upto = (np.searchsorted(theirs_sorted, mine, side) for side in ("left", "right"))
    other_counts = other.sums(theirs.astype(np.float64))
    counts = model.sums(ours.astype(np.float64)) * (other_counts > 0)
    pairs = np.maximum(counts * other_counts, 1.0)
    won, tied = (_sums(model, ours, values) / pairs for values in (below - first, upto - below))
    lost = np.where(counts > 0, 1.0 - won - tied, 0.0)
    return Comparisons(won, tied, lost, won + 0.5 * tied, counts, some_against_some(model, scores, other, other_scores))


def _sums(model: ModelAnswers, rows: BoolArray, values: IntArray) -> FloatArray:
    return np.asarray(
        np.bincount(model.prompt[rows], weights=values.astype(np.float64), minlength=model.prompts), dtype=np.float64
    )


def some_against_some(
    model: ModelAnswers, scores: FloatArray, other: ModelAnswers, other_scores: FloatArray
) -> LengthPairs:
    """Each judged answer with up to four of the other model's to the same prompt, taken in turn.

    With at most four answers a prompt these are all pairs; with more, each answer is in as many pairs as any other.
    """
    ours, theirs = np.flatnonzero(~np.isnan(scores)), np.flatnonzero(~np.isnan(other_scores))
    mine, others = model.prompt[ours], other.prompt[theirs]
    starts, sizes = np.searchsorted(others, mine), np.bincount(others, minlength=model.prompts)[mine]
    place = np.arange(ours.size) - np.searchsorted(mine, mine)
    left, right = [], []
    for turn in range(_MOST_OTHERS):
        rows = sizes > turn
        left.append(ours[rows])
        right.append(theirs[starts[rows] + (place[rows] + turn) % sizes[rows]])
    one, two = np.concatenate(left), np.concatenate(right)
    return length_pairs(model, one, other, two, 0.5 * (1.0 + np.sign(scores[one] - other_scores[two])))


def length_pairs(
    model: ModelAnswers, one: IntArray, other: ModelAnswers, two: IntArray, preferences: FloatArray
) -> LengthPairs:
    """Pairs of answers by their places in the two models' tables."""
    prompt = model.prompt[one]
    counts = np.bincount(prompt, minlength=model.prompts)
    differences = model.characters[one] - other.characters[two]
    return LengthPairs(prompt, preferences, differences, 1.0 / np.maximum(counts[prompt], 1))
