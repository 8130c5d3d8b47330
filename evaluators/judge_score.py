"""Judge's scores: what a judge of single answers gives to each model's, and how much more than to the baseline's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .answers import Answers, Judged, PromptMeans
from .estimands import Source, small_slice
from .paired_tests import holm, sign_flip
from .types import Draft, EvaluationSettings
from .win_rate import tested

NAME = "judge_score"
VERSION = 1
_NOTHING = "no judged answer"


def drafts(answers: Answers, settings: EvaluationSettings) -> list[Draft]:
    """`mean_score` and `unjudged` of every model; `score_difference` and its test against the baseline.

    Each prompt counts once, with the mean of its judged answers; a difference is of prompts with judged answers of
    both models. The test exchanges the two models by prompt group.
    """
    metrics: list[Draft] = []
    for judged in answers.judged.values():
        means = {name: one.means(judged.scores[name]) for name, one in answers.models.items()}
        for name, mean in means.items():
            metrics += _of_model(answers, judged, name, mean, settings)
        compared = [one.model for one in answers.against(settings.baseline)]
        metrics += _differences(answers, judged, means, compared, settings)
    return metrics


def _of_model(
    answers: Answers, judged: Judged, model: str, mean: PromptMeans, settings: EvaluationSettings
) -> list[Draft]:
    source = Source(NAME, VERSION, model, answers.groups, judge=judged.judge)
    metrics: list[Draft] = []
    for part, inside in answers.parts():
        rows = mean.rows & inside
        if part is not None and not rows.any():
            continue
        metrics.append(
            source.mean(
                "mean_score",
                mean.values,
                judged.unit,
                rows,
                n=mean.n(rows),
                slice=part,
                proportion=judged.are_shares,
                note=None if part is None else small_slice(answers.groups.present(rows), settings),
                undefined=_NOTHING,
            )
        )
    return [*metrics, _unjudged(source, answers, judged, model)]


def _unjudged(source: Source, answers: Answers, judged: Judged, model: str) -> Draft:
    scores, reasons = judged.scores[model], judged.reasons[model]
    missing = answers.models[model].means(np.isnan(scores).astype(np.float64))
    told = ", ".join(f"{count:,} {reason}" for reason, count in list(reasons.items())[:3])
    return source.mean(
        "unjudged", missing.values, "share", missing.rows, n=scores.shape[0], proportion=True, note=told or None
    )


def _differences(
    answers: Answers,
    judged: Judged,
    means: dict[str, PromptMeans],
    compared: Sequence[str],
    settings: EvaluationSettings,
) -> list[Draft]:
    sources = [Source(NAME, VERSION, model, answers.groups, settings.baseline, judged.judge) for model in compared]
    rows = [means[model].rows & means[settings.baseline].rows for model in compared]
    gaps = [
        np.where(both, means[model].values - means[settings.baseline].values, 0.0)
        for model, both in zip(compared, rows, strict=True)
    ]
    changes = [answers.groups.sums(gap) for gap in gaps]
    p_values = holm([sign_flip(change) for change in changes])
    metrics: list[Draft] = []
    for index, (source, both, gap) in enumerate(zip(sources, rows, gaps, strict=True)):
        for part, inside in answers.parts():
            kept = both & inside
            if part is not None and not kept.any():
                continue
            metrics.append(
                source.mean(
                    "score_difference",
                    gap,
                    judged.unit,
                    kept,
                    n=means[source.model].n(kept),
                    slice=part,
                    note=None if part is None else small_slice(answers.groups.present(kept), settings),
                    undefined="no prompt has judged answers of both models",
                )
            )
        counts = np.where(both, means[source.model].counts, 0.0)
        metrics.append(tested(source, "score_difference_p", p_values[index], changes[index], counts, len(compared)))
    return metrics
