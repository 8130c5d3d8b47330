"""Models of several runs or evaluations on the same rows, with the learning curves of the runs side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from ..errors import ConfigError
from .outcome import Choices, Outcome, evaluate_subject, settings_of
from .stored import read_subject
from .subject import Subject
from .union import REWARD_EVALUATORS, Reward, shared_rows, unite


def compare(locations: Sequence[str], choices: Choices, slices: Sequence[str], *, shared: bool = False) -> Outcome:
    """Metrics of every model of every location, each against the first location's model.

    Args:
        locations: Two or more runs, folders of evaluations, or files of scored rows.
        choices: What the user decides.
        slices: Columns that are evaluated apart.
        shared: Compare on the rows that all have, and say how many are left out; else others are refused.

    Raises:
        ConfigError: There are fewer than two locations, or a choice does not hold.
        InputError: One cannot be read, or they do not share the same rows.
    """
    if len(locations) < 2:
        raise ConfigError("compare: give two or more runs, folders of evaluations, or files of scored rows.")
    subjects = _named([read_subject(location, slices) for location in locations], locations)
    subjects, left_out = shared_rows(subjects) if shared else (subjects, [])
    rewards = {}
    for name, subject in subjects.items():
        settings = settings_of(subject, choices._replace(baseline=None))
        rewards[name] = Reward(settings.reward, settings.beta)
    united = unite(subjects, rewards)
    subject = replace(united.subject, notes=(*left_out, *united.subject.notes))
    own = choices._replace(reward=None, beta=None)
    names = REWARD_EVALUATORS if united.as_rewards else None
    return evaluate_subject(subject, own, names, with_answers=True)


def training_logs(locations: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Table `training_log` of each location that is a run and logged a step, by the name of its model in `compare`."""
    subjects = _named([read_subject(location) for location in locations], locations)
    logs = {name: subject.tables.get("training_log") for name, subject in subjects.items()}
    return {name: log for name, log in logs.items() if log is not None and not log.is_empty()}


def _named(subjects: Sequence[Subject], locations: Sequence[str]) -> dict[str, Subject]:
    """Subjects by name; two of one name by their locations.

    Raises:
        ConfigError: A location is given twice.
    """
    paths = [str(Path(location).resolve()) for location in locations]
    repeated = [path for path, count in Counter(paths).items() if count > 1]
    if repeated:
        raise ConfigError(f"compare: {repeated[0]} is given twice.")
    counts = Counter(subject.name for subject in subjects)
    return {
        (subject.name if counts[subject.name] == 1 else location): subject
        for subject, location in zip(subjects, locations, strict=True)
    }
