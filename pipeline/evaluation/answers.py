"""Sampled answers of a run, or of models that were asked here, evaluated beside scored rows."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from thumbline.evaluators import METRICS_SCHEMA, AnswerTables, EvaluationSettings, evaluate_answers

from ..stages.metrics import READ_OF_ANSWERS, answer_tables, calibrated_judge
from .subject import Subject

# What is read of a run's tables of answers: what is evaluated, and the prompts' texts, which the report shows.
ANSWER_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **READ_OF_ANSWERS,
    "generation_prompts": (*READ_OF_ANSWERS["generation_prompts"], "prompt"),
}


def answer_metrics(subject: Subject, settings: EvaluationSettings) -> pl.DataFrame:
    """The metrics of sampled answers; no rows where none were sampled.

    Raises:
        EvaluationError: Tables that cannot be evaluated.
    """
    given = {name: subject.tables[name] for name in READ_OF_ANSWERS if name in subject.tables}
    if not {"generation_prompts", "generations"} <= given.keys():
        return pl.DataFrame(schema=METRICS_SCHEMA)
    tables: AnswerTables = answer_tables(given)
    return evaluate_answers(tables, settings, None if subject.config is None else calibrated_judge(subject.config))
