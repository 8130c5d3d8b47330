"""Settings in order: by the mean of the chosen measure over the seeds, on the validation split alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from thumbline.evaluators import FrontierPoint

from .frontier import corrected, over_seeds
from .measures import MEASURES, Average, Measure, average, ties_of
from .plan import Plan, Setting
from .trials import TrialResult


class SettingResult(NamedTuple):
    """What became of a setting.

    Attributes:
        setting: The setting.
        trials: What became of its trials, in the order of the seeds.
        averages: Measures over the seeds by name; None where a trial has none.
        point: What its answers win and pay, over the seeds; None where they were not judged.
    """

    setting: Setting
    trials: tuple[TrialResult, ...]
    averages: Mapping[str, Average | None]
    point: FrontierPoint | None = None

    @property
    def status(self) -> Literal["done", "failed"]:
        """Done where every trial is: a setting that fails under one seed of three is none to choose."""
        return "done" if all(trial.status == "done" for trial in self.trials) else "failed"

    @property
    def errors(self) -> tuple[str, ...]:
        """Why its trials failed."""
        return tuple(trial.error for trial in self.trials if trial.error is not None)


def result_of(setting: Setting, trials: Sequence[TrialResult]) -> SettingResult:
    """A setting with what became of its trials."""
    done = all(trial.status == "done" for trial in trials)
    averages = {name: average([trial.values[name] for trial in trials]) if done else None for name in MEASURES}
    point = over_seeds(setting.name, [trial.point for trial in trials]) if done else None
    return SettingResult(setting, tuple(trials), averages, point)


def ranked(plan: Plan, results: Sequence[SettingResult]) -> list[SettingResult]:
    """Settings from the best to the worst; those that failed, or have no number, come last.

    Equal ones go by the measures that break ties, then in the order of the grid: the order is the same however many of
    the settings are done, so that what is not the best so far never will be. By the frontier those whose answers are
    surely better come first, the cheapest of them before the others.
    """
    measures = (plan.measure, *ties_of(plan.measure, [trial.config for trial in plan.trials]))
    sure = _price(plan) if plan.frontier else _unpriced
    return sorted(results, key=lambda result: (sure(result), *(_key(result, measure) for measure in measures)))


def _unpriced(result: SettingResult) -> tuple[bool, float]:
    return (False, 0.0)


def _price(plan: Plan) -> Callable[[SettingResult], tuple[bool, float]]:
    """Places of settings by what their answers cost: those that are surely better first."""
    confidence = plan.config.metrics.confidence

    def place(result: SettingResult) -> tuple[bool, float]:
        if result.point is None:
            return (True, 0.0)
        # Corrected for all settings of the plan: the same however many are done.
        point = corrected(result.point, len(plan.settings))
        return (False, point.cost or 0.0) if point.is_surely_better(confidence) else (True, 0.0)

    return place


def _key(result: SettingResult, measure: Measure) -> tuple[bool, float]:
    found = result.averages[measure.name]
    return (found is None, 0.0 if found is None else -measure.sign * found.mean)


def best_of(plan: Plan, results: Sequence[SettingResult]) -> SettingResult | None:
    """The best setting; None where none has a number to choose by."""
    first = next(iter(ranked(plan, results)), None)
    return None if first is None or first.averages[plan.measure.name] is None else first
