"""Sampled answers that a run has stored, evaluated again beside its scored rows."""

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
    """The metrics of the run's sampled answers; no rows where it is no run, or none were sampled.

    Raises:
        EvaluationError: Tables that cannot be evaluated.
    """
    if subject.config is None or any(name not in subject.tables for name in READ_OF_ANSWERS):
        return pl.DataFrame(schema=METRICS_SCHEMA)
    tables: AnswerTables = answer_tables({name: subject.tables[name] for name in READ_OF_ANSWERS})
    return evaluate_answers(tables, settings, calibrated_judge(subject.config))
