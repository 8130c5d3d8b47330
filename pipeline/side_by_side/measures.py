"""What arms are compared by: each number's heading, unit and meaning, averaged over the seeds and corrected."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from thumbline.evaluators.paired_tests import holm

from ..config import RunConfig
from ..sweep.comparing import Comparison, Gap, together
from ..sweep.measures import Average, Value, average
from .answer_scores import answer_scores
from .running import ArmTrial
from .scores import Scores, held_out_scores


class Measure(NamedTuple):
    """One number of an arm.

    Attributes:
        name: In files.
        title: As a heading.
        unit: As `metrics` says it.
        difference_unit: Of a difference of two arms.
        chance: Where a model that knows nothing, or has not moved, stands; None for nowhere.
        meaning: What it is, in a sentence.
    """

    name: str
    title: str
    unit: str
    difference_unit: str
    chance: float | None
    meaning: str


_ALL: Final = (
    Measure(
        "accuracy",
        "Preference accuracy",
        "share",
        "share",
        0.5,
        "Held-out pairs whose better answer has the higher reward, by each method's own reward.",
    ),
    Measure(
        "log_ratio_accuracy",
        "Accuracy by log-ratio",
        "share",
        "share",
        0.5,
        "The same by one reward for all methods: the log-ratio to the untrained model.",
    ),
    Measure(
        "margin",
        "Margin, nats",
        "nats",
        "nats",
        0.0,
        "Log-ratio of the better answer less that of the worse one, mean over held-out pairs: one scale for all.",
    ),
    Measure("auc", "AUC", "share", "share", 0.5, "How well each method's own reward tells held-out thumbs apart."),
    Measure(
        "win_rate",
        "Win rate",
        "share",
        "share",
        0.5,
        "Sampled answers that the first judge prefers over the untrained model's to the same prompt, ties one half; "
        "against the baseline: over the baseline's own answers, less one half.",
    ),
    Measure(
        "thumbs_up",
        "Predicted thumbs-up rate",
        "share",
        "share",
        None,
        "Share of sampled answers that would get a thumbs-up, by the calibrated thumbs model.",
    ),
    Measure(
        "kl",
        "KL to the untrained, nats a token",
        "nats",
        "nats",
        0.0,
        "Of the model's own sampled answers: their log-prob under it less that under the untrained model.",
    ),
    Measure(
        "moved",
        "Moved on logged answers, nats a token",
        "nats",
        "nats",
        0.0,
        "How much less likely held-out logged answers became: a divergence only where the untrained model wrote them.",
    ),
    Measure(
        "length",
        "Length, times the untrained",
        "ratio",
        "ratio",
        1.0,
        "Mean tokens of sampled answers over those of the untrained model; against the baseline: over the baseline's, "
        "less one.",
    ),
)
MEASURES: Final[Mapping[str, Measure]] = {measure.name: measure for measure in _ALL}


class Cell(NamedTuple):
    """One measure of one arm.

    Attributes:
        average: Over the seeds; None where it has no value with each of them.
        comparison: Less the baseline, its p-value corrected for the number of arms; None for the baseline and where
            there is no such comparison.
        per_seed: The value with each seed.
        reasons: Why there is none, likewise; None where there is one, or nothing was said.
    """

    average: Average | None
    comparison: Comparison | None
    per_seed: tuple[Value, ...]
    reasons: tuple[str | None, ...] = ()


# By measure, then by arm.
Table = Mapping[str, Mapping[str, Cell]]


def table_of(trials: Sequence[ArmTrial], baseline: str, confidence: float) -> Table:
    """Every measure of every arm all of whose trials are done.

    Args:
        trials: Of all arms and seeds.
        baseline: The arm that others are compared with.
        confidence: Mass of the intervals.
    """
    runs = finished_runs(trials)
    if not runs:
        return {}
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    by_seed = [_of_seed({arm: configs[seed] for arm, configs in runs.items()}, baseline) for seed in seeds]
    return {
        measure: _cells([found[measure] for found in by_seed], list(runs), confidence)
        for measure in MEASURES
        if all(measure in found for found in by_seed)
    }


def finished_runs(trials: Sequence[ArmTrial]) -> dict[str, dict[int, RunConfig]]:
    """Each arm's runs by seed, of arms all of whose trials are done."""
    arms = dict.fromkeys(trial.arm for trial in trials)
    failed = {trial.arm for trial in trials if trial.result.status == "failed"}
    return {
        arm: {trial.seed: trial.config for trial in trials if trial.arm == arm} for arm in arms if arm not in failed
    }


def _of_seed(runs: Mapping[str, RunConfig], baseline: str) -> dict[str, Scores]:
    return {**held_out_scores(runs, baseline), **answer_scores(runs, baseline)}


def _cells(by_seed: Sequence[Scores], arms: Sequence[str], confidence: float) -> dict[str, Cell]:
    gaps: dict[str, list[Gap]] = {arm: [found.gaps[arm] for found in by_seed if arm in found.gaps] for arm in arms}
    known = {arm: found for arm, found in gaps.items() if len(found) == len(by_seed)}
    compared = corrected({arm: together(arm, found, confidence, len(known)) for arm, found in known.items()})
    cells = {}
    for arm in arms:
        values = tuple(found.values.get(arm, Value(None, None, None, 0, 0)) for found in by_seed)
        reasons = tuple(found.reasons.get(arm) for found in by_seed)
        cells[arm] = Cell(average(values), compared.get(arm), values, reasons)
    return cells


def corrected(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Comparisons with their p-values corrected for their number by Holm's method; those without one stay so."""
    tested = {name: one.p_value for name, one in comparisons.items() if one.p_value is not None}
    p_values = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {
        name: one._replace(p_value=p_values.get(name), comparisons=len(tested)) for name, one in comparisons.items()
    }
