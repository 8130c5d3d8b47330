"""Settings in order: by the mean of the chosen measure over the seeds, on the validation split alone."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .measures import MEASURES, Average, Measure, average, ties_of
from .plan import Plan, Setting
from .trials import TrialResult


class SettingResult(NamedTuple):
    """What became of a setting.

    Attributes:
        setting: The setting.
        trials: What became of its trials, in the order of the seeds.
        averages: Measures over the seeds by name; None where a trial has none.
    """

    setting: Setting
    trials: tuple[TrialResult, ...]
    averages: Mapping[str, Average | None]

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
    return SettingResult(setting, tuple(trials), averages)


def ranked(plan: Plan, results: Sequence[SettingResult]) -> list[SettingResult]:
    """Settings from the best to the worst; those that failed, or have no number, come last.

    Equal ones go by the measures that break ties, then in the order of the grid: the order is the same however many of
    the settings are done, so that what is not the best so far never will be.
    """
    measures = (plan.measure, *ties_of(plan.measure, [trial.config for trial in plan.trials]))
    return sorted(results, key=lambda result: tuple(_key(result, measure) for measure in measures))


def _key(result: SettingResult, measure: Measure) -> tuple[bool, float]:
    found = result.averages[measure.name]
    return (found is None, 0.0 if found is None else -measure.sign * found.mean)


def best_of(plan: Plan, results: Sequence[SettingResult]) -> SettingResult | None:
    """The best setting; None where none has a number to choose by."""
    first = next(iter(ranked(plan, results)), None)
    return None if first is None or first.averages[plan.measure.name] is None else first
