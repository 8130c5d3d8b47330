"""Win rate: how often a judge finds a model's answer better than the baseline's to the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from .answers import Answers, Judged, ModelAnswers, PromptMeans
from .estimands import Source, small_slice
from .groups import numbered
from .length_control import length_controlled
from .paired_tests import holm, sign_flip
from .presentations import Presentations, presentations
from .types import Draft, EvaluationSettings, FloatArray
from .versus import Comparisons, all_against_all

NAME = "win_rate"
VERSION = 1
_NOTHING = "no prompt has judged answers of both models"
_ONE_ORDER = "no pair was judged in both orders"


class _Compared(NamedTuple):
    """A model against the baseline, as one judge saw it.

    Attributes:
        model: The model.
        judge: The judge.
        versus: Wins, ties and losses of each prompt.
        orders: What the order of showing did; None for a judge that sees one answer at a time.
    """

    model: str
    judge: str
    versus: Comparisons
    orders: Presentations | None


def drafts(answers: Answers, settings: EvaluationSettings) -> list[Draft]:
    """Every judge and every model but the baseline: shares of comparisons, a test, and what length has to do with it.

    A judge of single answers compares each of a prompt's answers with each of the baseline's; a judge of pairs says
    itself which is better, and its two orders are averaged. Each prompt counts once. `win_rate` counts a tie half.
    """
    metrics: list[Draft] = []
    for judge in sorted({*answers.judged, *answers.judged_pairs}):
        compared = [
            one for model in answers.against(settings.baseline) if (one := _compared(answers, judge, model, settings))
        ]
        metrics += _of_judge(answers, compared, settings)
    return metrics


def _compared(answers: Answers, judge: str, model: ModelAnswers, settings: EvaluationSettings) -> _Compared | None:
    if judge in answers.judged_pairs:
        rows = answers.judged_pairs[judge]
        rows = rows.filter(pl.col("model") == model.model, pl.col("baseline") == settings.baseline)
        if rows.is_empty():
            return None
        shown = presentations(rows, model, answers.models[settings.baseline])
        return _Compared(model.model, judge, shown.versus, shown)
    return _Compared(model.model, judge, _by_scores(answers.judged[judge], model, answers, settings), None)


def _by_scores(judged: Judged, model: ModelAnswers, answers: Answers, settings: EvaluationSettings) -> Comparisons:
    other = answers.models[settings.baseline]
    return all_against_all(model, judged.scores[model.model], other, judged.scores[other.model])


def _of_judge(answers: Answers, compared: Sequence[_Compared], settings: EvaluationSettings) -> list[Draft]:
    sources = [Source(NAME, VERSION, one.model, answers.groups, settings.baseline, one.judge) for one in compared]
    changes = [
        source.groups.sums(np.where(one.versus.rows, one.versus.shares - 0.5, 0.0))
        for source, one in zip(sources, compared, strict=True)
    ]
    p_values = holm([sign_flip(change) for change in changes])
    metrics: list[Draft] = []
    for source, one, change, p_value in zip(sources, compared, changes, p_values, strict=True):
        metrics += _shares(source, one.versus, answers, settings)
        metrics.append(tested(source, "win_rate_p", p_value, change, one.versus.counts, len(compared)))
        metrics.append(_without_length(source, one.versus, settings))
        if one.orders is not None:
            metrics += _of_orders(source, one.orders)
    return metrics


def tested(
    source: Source, name: str, p_value: float, changes: FloatArray, counts: FloatArray, comparisons: int
) -> Draft:
    """A p-value of a test by prompt group, with what it counted.

    Args:
        source: Whose metric it is.
        name: Its name.
        p_value: Corrected for the comparisons.
        changes: (groups,) sums of changes.
        counts: (prompts,) the model's answers that count.
        comparisons: How many comparisons it is corrected for.
    """
    n_groups, n = source.groups.present(counts > 0), int(counts.sum())
    if not n:
        return source.metric(name, None, "probability", _NOTHING, n=0, n_groups=0)
    better, worse = int((changes > 0).sum()), int((changes < 0).sum())
    words = f"{better} prompt groups better, {worse} worse, {n_groups - better - worse} the same"
    words += f"; corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return source.metric(name, p_value, "probability", words, n=n, n_groups=n_groups)


def _shares(source: Source, versus: Comparisons, answers: Answers, settings: EvaluationSettings) -> list[Draft]:
    metrics: list[Draft] = []
    for part, inside in answers.parts():
        rows = versus.rows & inside
        if part is not None and not rows.any():
            continue
        warning = None if part is None else small_slice(source.groups.present(rows), settings)
        kinds = {"win_rate": versus.shares}
        if part is None:
            kinds |= {"wins": versus.wins, "ties": versus.ties, "losses": versus.losses}
        metrics += [
            source.mean(
                name,
                values,
                "share",
                rows,
                n=int(versus.counts[rows].sum()),
                slice=part,
                proportion=True,
                note=warning,
                undefined=_NOTHING,
            )
            for name, values in kinds.items()
        ]
    return metrics


def _without_length(source: Source, versus: Comparisons, settings: EvaluationSettings) -> Draft:
    """`length_controlled_win_rate`, see `length_control`."""
    pairs = versus.pairs
    prompts = source.groups.number[pairs.prompt]
    groups = numbered(prompts, source.groups.count, settings.seed)
    found = length_controlled(pairs.preferences, pairs.length_differences, pairs.weights, groups, settings)
    return source.metric(
        "length_controlled_win_rate",
        found.value,
        "share",
        found.reason,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        standard_error=found.standard_error,
        n=int(versus.counts.sum()),
        n_groups=groups.present() if pairs.prompt.size else 0,
    )


def _of_orders(source: Source, orders: Presentations) -> list[Draft]:
    """`position_bias`, `self_agreement` and `refused` of a judge that is shown two answers."""
    note = "share that the answer shown first wins, less one half"
    same = "pairs whose two orders have one verdict"
    kinds: dict[str, tuple[PromptMeans, dict[str, Any]]] = {
        "position_bias": (orders.first, {"note": note, "undefined": _ONE_ORDER}),
        "self_agreement": (orders.agree, {"note": same, "undefined": _ONE_ORDER, "proportion": True}),
        "refused": (orders.refused, {"note": orders.reasons, "undefined": "no pair was shown", "proportion": True}),
    }
    return [
        source.mean(name, means.values, "share", means.rows, n=means.n(means.rows), **more)
        for name, (means, more) in kinds.items()
    ]
