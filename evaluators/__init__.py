"""Evaluators: scored rows in, metrics with intervals out. No torch, no files, no printing."""

from .registry import EVALUATORS, evaluate
from .rewards import RewardKind, needs_reference, reward_kind, reward_of
from .types import METRICS_SCHEMA, EvaluationError, EvaluationSettings, Metric

__all__ = [
    "EVALUATORS",
    "METRICS_SCHEMA",
    "EvaluationError",
    "EvaluationSettings",
    "Metric",
    "RewardKind",
    "evaluate",
    "needs_reference",
    "reward_kind",
    "reward_of",
]
