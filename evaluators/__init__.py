"""Evaluators: scored rows in, metrics with intervals out. No torch, no files, no printing.

Each name is imported when it is first used: most evaluators need parts of scipy that take long to import, and a type or
a table's columns need none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_HOMES: Final = {
    "ANSWER_EVALUATORS": ".answer_registry",
    "evaluate_answers": ".answer_registry",
    "AnswerTables": ".answers",
    "MOST_BROKEN": ".frontiers",
    "FrontierPoint": ".frontiers",
    "cheapest_surely_better": ".frontiers",
    "frontier": ".frontiers",
    "frontier_points": ".frontiers",
    "evaluate_judged": ".judged",
    "EVALUATORS": ".registry",
    "evaluate": ".registry",
    "RewardKind": ".rewards",
    "needs_reference": ".rewards",
    "reward_kind": ".rewards",
    "reward_of": ".rewards",
    "METRICS_SCHEMA": ".types",
    "EvaluationError": ".types",
    "EvaluationSettings": ".types",
    "Metric": ".types",
}


def __getattr__(name: str) -> Any:
    """A name of the library, imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    found = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
