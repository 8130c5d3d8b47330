"""Evaluators: scored rows in, metrics with intervals out. No torch, no files, no printing."""

from .registry import EVALUATORS, evaluate
from .types import METRICS_SCHEMA, EvaluationError, EvaluationSettings, Metric, RewardKind

__all__ = ["EVALUATORS", "METRICS_SCHEMA", "EvaluationError", "EvaluationSettings", "Metric", "RewardKind", "evaluate"]
