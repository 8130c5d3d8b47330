"""Conditions on an evaluation that a CI job fails by: a least value of a metric, no loss against another model."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import EVALUATORS, EvaluationError, evaluate

from ..errors import ConfigError, GateError, InputError, unknown_name
from ..report.evaluation_facts import ANSWERS
from ..tables import polars_schema
from .outcome import Outcome
from .stored import read_subject
from .subject import Subject
from .union import Reward, check_same_rows, in_rewards, is_filled

# What says a loss: the evaluator and its metric, by the kind of rows.
_DIFFERENCES: Final = {
    "pairs": ("comparison", "accuracy_difference"),
    "unpaired": ("unpaired_comparison", "auc_difference"),
}


class Condition(NamedTuple):
    """One condition and whether it holds.

    Attributes:
        name: The condition and the model, in words.
        holds: Whether the evaluation meets it.
        detail: The numbers that decide it.
    """

    name: str
    holds: bool
    detail: str


class Floor(NamedTuple):
    """`metric=value`: the least value of a metric, or of its interval's lower end.

    Attributes:
        metric: Its name, alone or behind its evaluator's.
        value: The least value.
        lower_end: Whether it is the interval's lower end that has to reach it.
        judge: Whose number it is, of those that several judges give; None where it is not said.
    """

    metric: str
    value: float
    lower_end: bool
    judge: str | None = None

    @property
    def called(self) -> str:
        """Metric and judge as they were written."""
        return self.metric if self.judge is None else f"{self.metric}@{self.judge}"


def parse_floor(text: str) -> Floor:
    """`accuracy=0.6`; `accuracy:low=0.6` for the lower end of the interval; `win_rate@JUDGE=0.5` of a judge.

    Raises:
        ConfigError: It has no such form.
    """
    name, separator, number = text.rpartition("=")
    name, _, judge = name.strip().partition("@")
    judged, metric, end = (judge, name, "") if judge else ("", *name.partition(":")[::2])
    if judged.endswith(":low"):
        judged, end = judged.removesuffix(":low"), "low"
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not separator or not metric or end not in {"", "low"} or value != value:
        raise ConfigError(f"--fail-under {text}: write it as METRIC=VALUE or METRIC:low=VALUE, as in accuracy=0.6.")
    return Floor(metric, value, end == "low", judged or None)


class Gated(NamedTuple):
    """What floors are held against.

    Attributes:
        metrics: Rows of the metrics table, of all rows: one a metric and model, and a judge where there are several.
        models: Models that have to meet each floor.
        confidence: Mass of every interval.
    """

    metrics: pl.DataFrame
    models: tuple[str, ...]
    confidence: float


def check_floors(outcome: Outcome, floors: Sequence[Floor]) -> list[Condition]:
    """Each floor for each model that is judged.

    Raises:
        ConfigError: No row of the metrics has this name.
    """
    # What sampled answers say of two models is said against the baseline: a win rate has no other form.
    alone = pl.col("compared_with").is_null()
    against = pl.col("compared_with") == outcome.settings.baseline
    whole = outcome.metrics.filter(pl.col("slice").is_null() & (alone | (against & pl.col("evaluator").is_in(ANSWERS))))
    return floor_conditions(Gated(whole, tuple(outcome.judged()), outcome.settings.confidence), floors)


def floor_conditions(gated: Gated, floors: Sequence[Floor]) -> list[Condition]:
    """Each floor for each model, and for each judge that has the metric.

    Raises:
        ConfigError: No row of the metrics has this name.
    """
    whole = gated.metrics
    full = pl.format("{}.{}", "evaluator", "metric")
    conditions = []
    for floor in floors:
        rows = whole.filter((full == floor.metric) | (pl.col("metric") == floor.metric))
        if rows.is_empty():
            known = ", ".join(whole.select(full.unique().sort()).to_series())
            raise ConfigError(f"--fail-under: no metric '{floor.metric}' in this evaluation. There are: {known}.")
        if rows["evaluator"].n_unique() > 1:
            meant = ", ".join(rows.select(full.unique().sort()).to_series())
            raise ConfigError(f"--fail-under: '{floor.metric}' could mean {meant}; write one of them.")
        rows = _of_judge(rows, floor)
        conditions += [condition for model in gated.models for condition in _floor(gated, rows, floor, model)]
    return conditions


def _of_judge(rows: pl.DataFrame, floor: Floor) -> pl.DataFrame:
    """The rows of the judge that is named; all of them where none is.

    Raises:
        ConfigError: There is no such judge.
    """
    if floor.judge is None:
        return rows
    judges = rows["judge"].drop_nulls().unique().sort().to_list() if "judge" in rows.columns else []
    if floor.judge not in judges:
        raise ConfigError(f"--fail-under {floor.called}: {unknown_name('judge', floor.judge, judges)}")
    return rows.filter(pl.col("judge") == floor.judge)


def _floor(gated: Gated, rows: pl.DataFrame, floor: Floor, model: str) -> list[Condition]:
    name = f"{model}: {floor.called}{' lower end' if floor.lower_end else ''} at least {floor.value:g}"
    of_model = rows.filter(pl.col("model") == model).rows(named=True)
    if not of_model:
        return [Condition(name, False, "none: the model has no such metric")]
    several = len(of_model) > 1
    return [_held(f"{name}, by {row['judge']}" if several else name, row, floor, gated.confidence) for row in of_model]


def _held(name: str, row: dict[str, Any], floor: Floor, confidence: float) -> Condition:
    value = row["ci_low" if floor.lower_end else "value"]
    if value is None:
        return Condition(name, False, f"none: {row['reason'] or 'it has no value'}")
    interval = "" if row["ci_low"] is None else f", {_mass(confidence)} {row['ci_low']:.4g} to {row['ci_high']:.4g}"
    return Condition(name, bool(value >= floor.value), f"{row['value']:.4g}{interval}, {row['n']:,} rows")


def _mass(confidence: float) -> str:
    return f"{100 * confidence:g}% interval"


def check_no_worse(outcome: Outcome, location: str, allowed_loss: float | None) -> list[Condition]:
    """Each judged model against the model of `location`, on the same rows: by accuracy, or by AUC where pairs lack.

    Args:
        outcome: The evaluation.
        location: A run, the folder of an evaluation, or scored rows.
        allowed_loss: None: it fails where the whole interval of the difference lies below zero. A number: it holds
            only where the whole interval lies above minus this number, so that a small test set cannot pass by chance.

    Raises:
        InputError: No kind of rows is on both sides, or the other's are not the same rows.
    """
    other = read_subject(location)
    kind = _shared_kind(outcome.subject, other, location)
    check_same_rows({outcome.subject.name: outcome.subject, other.name: other}, [kind])
    theirs = _judged_alone(other, location)
    label = f"{other.name} ({theirs})"
    own = Reward(outcome.settings.reward, outcome.settings.beta)
    ours = _scores(in_rewards(outcome.subject, own), kind).filter(pl.col("model").is_in(outcome.judged()))
    best = _scores(in_rewards(other, Reward(other.reward or own.kind, other.beta or own.beta)), kind)
    best = best.filter(pl.col("model") == theirs).with_columns(model=pl.lit(label))
    merged = pl.concat([ours, best], how="diagonal_relaxed")
    pairs, unpaired = (merged, None) if kind == "pairs" else (None, merged)
    settings = dataclasses.replace(outcome.settings, baseline=label, slice_columns=(), reward="sum_logps", beta=1.0)
    evaluator, metric = _DIFFERENCES[kind]
    try:
        metrics = evaluate(pairs, unpaired, settings, [evaluator])
    except EvaluationError as error:
        raise InputError(f"--no-worse-than {location}: {error}") from error
    comparisons = metrics.filter((pl.col("metric") == metric) & (pl.col("compared_with") == label))
    return [_no_worse(outcome, row, label, allowed_loss) for row in comparisons.iter_rows(named=True)]


def _shared_kind(subject: Subject, other: Subject, location: str) -> str:
    for kind, (evaluator, _) in _DIFFERENCES.items():
        both = is_filled(subject.rows().get(kind)) and is_filled(other.rows().get(kind))
        if both and evaluator in EVALUATORS:
            return kind
    raise InputError(f"--no-worse-than {location}: it takes scored rows of the same kind on both sides.")


def _scores(subject: Subject, kind: str) -> pl.DataFrame:
    """Scored rows without columns to slice by, which two sides need not share."""
    frame = subject.rows()[kind]
    return frame.select(name for name in polars_schema(f"scored_{kind}") if name in frame.columns)


def _judged_alone(other: Subject, location: str) -> str:
    """The one model of the other side that is no baseline."""
    names = other.model_names()
    judged = [name for name in names if name != other.baseline] or names
    if len(judged) > 1:
        raise InputError(
            f"--no-worse-than {location}: it has {len(judged)} models ({', '.join(judged)}); give the rows of one."
        )
    return judged[0]


def _no_worse(outcome: Outcome, row: dict[str, Any], label: str, allowed_loss: float | None) -> Condition:
    less = "" if allowed_loss is None else f" by more than {allowed_loss:g}"
    name = f"{row['model']}: no worse than {label}{less}"
    low, high = row["ci_low"], row["ci_high"]
    if row["value"] is None:
        return Condition(name, False, f"none: {row['reason']}")
    detail = f"{row['metric'].removesuffix('_difference')} moved by {row['value']:+.4g}"
    if low is None or high is None:
        if row["n_groups"] < 2:
            return Condition(name, False, f"{detail}, no interval: {row['reason']}")
        # Groups that all changed alike have no spread to resample: two equal models, most often.
        low, high = row["value"], row["value"]
        detail += ", in all prompt groups alike"
    else:
        detail += f", {_mass(outcome.settings.confidence)} {low:+.4g} to {high:+.4g}"
    return Condition(name, bool(high >= 0 if allowed_loss is None else low > -allowed_loss), detail)


def refuse(conditions: Sequence[Condition]) -> None:
    """Raise GateError unless every condition holds."""
    failed = [condition for condition in conditions if not condition.holds]
    if failed:
        # A model's name may hold line breaks, and must not look like conditions of its own.
        lines = "\n".join(f"  {condition.name}: {condition.detail}".replace("\n", " ") for condition in failed)
        raise GateError(f"{len(failed)} of {len(conditions)} conditions do not hold:\n{lines}")
