"""Length: whether the accuracy is more than a liking for long answers, and what log-probs alone would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .estimands import Source, mean_of_two_shares, small_slice
from .scores import PairScores, win_shares
from .types import Draft, Estimand, EvaluationSettings, FloatArray

NAME = "length_bias"
VERSION = 3
# Two answers are matched in length when the longer has at most a tenth more tokens.
_MATCHED_RATIO = 1.1
# Strata of chosen's tokens over rejected's: matched, at most double, more than double; and the same for rejected.
_EDGES = np.log([_MATCHED_RATIO, 2.0])
_STRATA = ("under 0.5", "0.5 to 0.91", "0.91 to 1.1", "1.1 to 2", "over 2")
_NO_PAIR = "no held-out pair is of this kind"


def drafts(scores: Sequence[PairScores], settings: EvaluationSettings) -> list[Draft]:
    """Mean lengths, baselines without a trained reward, and accuracy where length cannot help."""
    metrics: list[Draft] = []
    for model in scores:
        source = Source(NAME, VERSION, model.model, model.groups)
        chosen, rejected = model.chosen_token_counts, model.rejected_token_counts
        rules = {
            "longer_wins_accuracy": win_shares(chosen - rejected),
            "reference_free_sum_accuracy": win_shares(model.chosen_logps - model.rejected_logps),
            "reference_free_mean_accuracy": win_shares(model.chosen_logps / chosen - model.rejected_logps / rejected),
        }
        metrics += [source.mean(name, values, "share", proportion=True) for name, values in rules.items()]
        matched = np.maximum(chosen, rejected) <= _MATCHED_RATIO * np.minimum(chosen, rejected)
        kinds = {"length_matched": matched, "chosen_longer": chosen > rejected, "chosen_shorter": chosen < rejected}
        metrics += [
            source.mean(f"accuracy_{name}", model.wins, "share", rows, proportion=True, undefined=_NO_PAIR)
            for name, rows in kinds.items()
        ]
        metrics += [source.mean("chosen_tokens", chosen, "tokens"), source.mean("rejected_tokens", rejected, "tokens")]
        metrics.append(_adjusted(source, model))
        metrics += _strata(source, model, np.log(chosen / rejected), settings)
    return metrics


def _adjusted(source: Source, model: PairScores) -> Estimand:
    """The mean of the accuracies where chosen is longer and where it is shorter: a liking for length gets 0.5."""
    longer = model.chosen_token_counts > model.rejected_token_counts
    shorter = model.chosen_token_counts < model.rejected_token_counts
    return source.two_means(
        "length_adjusted_accuracy",
        (model.wins, model.wins),
        (longer, shorter),
        unit="share",
        formula=mean_of_two_shares,
        undefined="chosen is never longer, or never shorter",
        proportion=True,
    )


def _strata(source: Source, model: PairScores, log_ratio: FloatArray, settings: EvaluationSettings) -> list[Estimand]:
    """Accuracy within strata of the lengths' ratio; strata without a pair are left out."""
    # A ratio on an edge is in the stratum nearer to 1; the last digits of a logarithm may not decide it.
    strata = 2 + np.sign(log_ratio) * np.searchsorted(_EDGES, np.abs(log_ratio) - 1e-9)
    metrics = []
    for stratum, name in enumerate(_STRATA):
        rows = strata == stratum
        if rows.any():
            warning = small_slice(source.groups.present(rows), settings)
            part = f"chosen_to_rejected_tokens={name}"
            metrics.append(
                source.mean("accuracy_in_stratum", model.wins, "share", rows, slice=part, proportion=True, note=warning)
            )
    return metrics
