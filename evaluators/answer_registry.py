"""Every evaluator of sampled answers by name, and the one call that runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import polars as pl

from . import answer_text, judge_score, predicted_rate, thumbs_quality, win_rate
from .answer_checks import checked_answers
from .answers import Answers, AnswerTables, answers_of
from .types import METRICS_SCHEMA, Draft, Estimand, EvaluationSettings, Metric
from .uncertainty import intervals


class AnswerEvaluator(NamedTuple):
    """One evaluator of answers in the registry.

    Attributes:
        drafts: (answers, settings) -> metrics, and estimands still to be given intervals.
        version: Raised whenever a number could change.
        description: One line for people.
    """

    drafts: Callable[[Answers, EvaluationSettings], list[Draft]]
    version: int
    description: str


ANSWER_EVALUATORS: Final[dict[str, AnswerEvaluator]] = {
    "win_rate": AnswerEvaluator(win_rate.drafts, win_rate.VERSION, "How often a judge prefers a model's answer."),
    "judge_score": AnswerEvaluator(judge_score.drafts, judge_score.VERSION, "What a judge gives to answers."),
    "answer_text": AnswerEvaluator(answer_text.drafts, answer_text.VERSION, "Length, repetition, refusals, nats."),
    "predicted_thumbs_up": AnswerEvaluator(
        predicted_rate.drafts, predicted_rate.VERSION, "What share of answers would get a thumbs-up."
    ),
}


def evaluate_answers(
    tables: AnswerTables, settings: EvaluationSettings, calibrated_judge: str | None = None
) -> pl.DataFrame:
    """The metrics of sampled answers: one row a metric, model, judge and slice, the same whatever the rows' order.

    Args:
        tables: Prompts, answers, judgements, and labelled answers under the thumbs model.
        settings: Bootstrap, slices, and the model that others are compared with.
        calibrated_judge: The judge whose scores are the thumbs model's, as `thumbs_scores` has them; None without one.

    Returns:
        A frame of `METRICS_SCHEMA`; no rows where there are no answers and no scores of a thumbs model.

    Raises:
        EvaluationError: Tables that cannot be evaluated.
    """
    answers = answers_of(checked_answers(tables), settings, calibrated_judge)
    metrics = _told(thumbs_quality.drafts(answers.thumbs_scores, settings), settings)
    if answers.models:
        drafts = [draft for spec in ANSWER_EVALUATORS.values() for draft in spec.drafts(answers, settings)]
        metrics += _told(drafts, settings)
    frame = pl.DataFrame(metrics, schema=METRICS_SCHEMA, orient="row")
    return frame.sort("evaluator", "metric", "judge", "model", "compared_with", "slice", nulls_last=False)


def _told(drafts: list[Draft], settings: EvaluationSettings) -> list[Metric]:
    """Finished metrics, and the others with intervals: all of one table, whose groups are resampled once."""
    metrics = [draft for draft in drafts if isinstance(draft, Metric)]
    return metrics + intervals([draft for draft in drafts if isinstance(draft, Estimand)], settings)
