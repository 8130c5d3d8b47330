"""Length: whether the accuracy is more than a liking for long answers, and what log-probs alone would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluators.pair_accuracy import share
from evaluators.scores import BoolArray, PairScores, win_shares
from evaluators.types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "length_bias"
VERSION = 1
# Two answers are matched in length when the longer has at most a tenth more tokens.
_MATCHED_RATIO = 1.1


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean lengths, two baselines without a trained reward, and accuracy where length cannot help."""
    found: list[Draft] = []
    for model in scores:
        chosen, rejected = model.chosen_token_counts, model.rejected_token_counts
        every = np.ones(chosen.shape[0], dtype=bool)
        by_sum = win_shares(model.chosen_logps - model.rejected_logps)
        by_mean = win_shares(model.chosen_logps / chosen - model.rejected_logps / rejected)
        matched = np.maximum(chosen, rejected) <= _MATCHED_RATIO * np.minimum(chosen, rejected)
        shares = {
            "longer_wins_accuracy": (win_shares(chosen - rejected), every),
            "reference_free_sum_accuracy": (by_sum, every),
            "reference_free_mean_accuracy": (by_mean, every),
            "accuracy_length_matched": (model.wins, matched),
            "accuracy_chosen_longer": (model.wins, chosen > rejected),
            "accuracy_chosen_shorter": (model.wins, chosen < rejected),
        }
        found += [_mean(model, name, values, rows, "share") for name, (values, rows) in shares.items()]
        found += [
            _mean(model, f"{side}_tokens", counts, every, "tokens")
            for side, counts in (("chosen", chosen), ("rejected", rejected))
        ]
        found.append(_adjusted(model))
    return found


def _mean(model: PairScores, name: str, values: FloatArray, rows: BoolArray, unit: str) -> Estimand:
    columns = [model.groups.sums(values * rows), model.groups.sums(rows.astype(np.float64))]
    return Estimand(
        NAME,
        VERSION,
        name,
        model.model,
        unit,
        columns,
        share,
        int(rows.sum()),
        undefined="no held-out pair is of this kind",
        proportion=unit == "share",
    )


def _adjusted(model: PairScores) -> Estimand:
    """The mean of the accuracies where chosen is longer and where it is shorter: a liking for length gets 0.5."""
    longer = model.chosen_token_counts > model.rejected_token_counts
    shorter = model.chosen_token_counts < model.rejected_token_counts
    columns = [
        model.groups.sums(values)
        for rows in (longer, shorter)
        for values in (model.wins * rows, rows.astype(np.float64))
    ]
    unequal = int((longer | shorter).sum())
    return Estimand(
        NAME,
        VERSION,
        "length_adjusted_accuracy",
        model.model,
        "share",
        columns,
        _mean_of_two,
        unequal,
        undefined="chosen is never longer, or never shorter",
        proportion=True,
    )


def _mean_of_two(totals: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (totals[..., 0] / totals[..., 1] + totals[..., 2] / totals[..., 3]))
