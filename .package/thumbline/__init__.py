"""Thumbs-up / thumbs-down logs to a better model, and the proof that it is better.

    import thumbline
    data = thumbline.prepare("logs/*.jsonl")      # or a frame, or rows: data.pairs, data.unpaired, data.reasons
    run = thumbline.load("runs/quickstart")       # what a run made: run.tables, run.verdict
    result = thumbline.evaluate("scored.parquet") # result.metrics, result.accuracy, result.save("evaluation")

Each is imported when it is first used. `thumbline.losses` and `thumbline.evaluators` are libraries of their own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from . import evaluators, losses
    from .pipeline.api.evaluating import Estimate, Evaluation, evaluate
    from .pipeline.api.exporting import export
    from .pipeline.api.launching import LaunchPlan, launch_plan
    from .pipeline.api.preparing import Prepared, prepare
    from .pipeline.api.rating import Ratings, ratings
    from .pipeline.api.rounds import NextRound, next_round
    from .pipeline.api.runs import Run, load, run
    from .pipeline.api.side_by_side import AnnotationCurve, Comparison, annotation_curve, compare_methods
    from .pipeline.api.sweeping import Sweep, sweep
    from .pipeline.errors import PipelineError

__all__ = [
    "AnnotationCurve",
    "Comparison",
    "Estimate",
    "Evaluation",
    "LaunchPlan",
    "NextRound",
    "PipelineError",
    "Prepared",
    "Ratings",
    "Run",
    "Sweep",
    "annotation_curve",
    "compare_methods",
    "evaluate",
    "evaluators",
    "export",
    "launch_plan",
    "load",
    "losses",
    "next_round",
    "prepare",
    "ratings",
    "run",
    "sweep",
]

_LIBRARIES: Final = ("evaluators", "losses")
_HOMES: Final = {
    "Estimate": ".pipeline.api.evaluating",
    "Evaluation": ".pipeline.api.evaluating",
    "evaluate": ".pipeline.api.evaluating",
    "export": ".pipeline.api.exporting",
    "LaunchPlan": ".pipeline.api.launching",
    "launch_plan": ".pipeline.api.launching",
    "Prepared": ".pipeline.api.preparing",
    "prepare": ".pipeline.api.preparing",
    "Ratings": ".pipeline.api.rating",
    "ratings": ".pipeline.api.rating",
    "NextRound": ".pipeline.api.rounds",
    "next_round": ".pipeline.api.rounds",
    "AnnotationCurve": ".pipeline.api.side_by_side",
    "Comparison": ".pipeline.api.side_by_side",
    "annotation_curve": ".pipeline.api.side_by_side",
    "compare_methods": ".pipeline.api.side_by_side",
    "Run": ".pipeline.api.runs",
    "load": ".pipeline.api.runs",
    "run": ".pipeline.api.runs",
    "Sweep": ".pipeline.api.sweeping",
    "sweep": ".pipeline.api.sweeping",
    "PipelineError": ".pipeline.errors",
}


def __getattr__(name: str) -> Any:
    """A name of the API, imported now."""
    if name in _LIBRARIES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    found = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
