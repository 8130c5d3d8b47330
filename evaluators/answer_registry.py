"""Every evaluator of sampled answers by name, and the one call that runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import polars as pl

from . import answer_text, judge_score, win_rate
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
        A frame of `METRICS_SCHEMA`; no rows where there are no answers.

    Raises:
        EvaluationError: Tables that cannot be evaluated.
    """
    answers = answers_of(checked_answers(tables), settings)
    drafts: list[Draft] = []
    if answers.models:
        drafts = [draft for spec in ANSWER_EVALUATORS.values() for draft in spec.drafts(answers, settings)]
    metrics = [draft for draft in drafts if isinstance(draft, Metric)]
    metrics += intervals([draft for draft in drafts if isinstance(draft, Estimand)], settings)
    frame = pl.DataFrame(metrics, schema=METRICS_SCHEMA, orient="row")
    return frame.sort("evaluator", "metric", "judge", "model", "compared_with", "slice", nulls_last=False)
