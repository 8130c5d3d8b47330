"""Evaluators: scored rows in, metrics with intervals out. No torch, no files, no printing."""

from .answer_registry import ANSWER_EVALUATORS, evaluate_answers
from .answers import AnswerTables
from .frontiers import MOST_BROKEN, FrontierPoint, cheapest_surely_better, frontier, frontier_points
from .judged import evaluate_judged
from .registry import EVALUATORS, evaluate
from .rewards import RewardKind, needs_reference, reward_kind, reward_of
from .types import METRICS_SCHEMA, EvaluationError, EvaluationSettings, Metric

__all__ = [
    "ANSWER_EVALUATORS",
    "EVALUATORS",
    "METRICS_SCHEMA",
    "MOST_BROKEN",
    "AnswerTables",
    "EvaluationError",
    "EvaluationSettings",
    "FrontierPoint",
    "Metric",
    "RewardKind",
    "cheapest_surely_better",
    "evaluate",
    "evaluate_answers",
    "evaluate_judged",
    "frontier",
    "frontier_points",
    "needs_reference",
    "reward_kind",
    "reward_of",
]
