"""Arms on the same held-out rows and prompts: each one's numbers, and each against the baseline, seed by seed."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.evaluators.estimands import Source, difference_of_means
from thumbline.evaluators.groups import group_numbers
from thumbline.evaluators.paired_tests import t_test
from thumbline.evaluators.rewards import reward_of
from thumbline.evaluators.types import Estimand, FloatArray
from thumbline.evaluators.uncertainty import intervals, value_and_error

from ..config import MetricsConfig, RunConfig
from ..report.evaluation_facts import TRAINED
from ..stages.metrics import reward_of_run
from ..storage.tables import read_table
from ..sweep.comparing import Gap, reward_settings
from ..sweep.measures import Value

# What a number is looked up by: evaluator, metric, model.
_Rows = Mapping[tuple[str, str, str], Mapping[str, object]]
_NOTHING: Final = Value(None, None, None, 0, 0)


class Scores(NamedTuple):
    """A measure of all arms with one seed.

    Attributes:
        values: By arm.
        gaps: By arm, less the baseline; the baseline has none, nor has an arm that is not compared.
        reasons: By arm, why it has no value, where that was said.
    """

    values: Mapping[str, Value]
    gaps: Mapping[str, Gap]
    reasons: Mapping[str, str] = MappingProxyType({})


def held_out_scores(trials: Mapping[str, RunConfig], baseline: str) -> dict[str, Scores]:
    """What held-out pairs and unpaired rows say, by measure.

    Args:
        trials: Runs with metrics, by arm.
        baseline: The arm that others are compared with; where it is not among them nothing is compared.
    """
    metrics = next(iter(trials.values())).metrics
    own_pairs = {name: _rows(config, "scored_pairs", own=True) for name, config in trials.items()}
    pairs = {name: _rows(config, "scored_pairs", own=False) for name, config in trials.items()}
    unpaired = {name: _rows(config, "scored_unpaired", own=True) for name, config in trials.items()}
    return {
        "accuracy": _scores(own_pairs, "pairs", _ACCURACY, baseline, metrics),
        "log_ratio_accuracy": _scores(pairs, "pairs", _ACCURACY, baseline, metrics),
        "margin": _scores(pairs, "pairs", _MARGIN, baseline, metrics),
        "auc": _scores(unpaired, "unpaired", _AUC, baseline, metrics),
        "moved": _moved(trials, baseline),
    }


class _Measured(NamedTuple):
    """Where a measure's value, difference and test stand: evaluator and metric; no test is Student's of the error."""

    value: tuple[str, str]
    difference: tuple[str, str]
    test: str | None


_ACCURACY: Final = _Measured(("pair_accuracy", "accuracy"), ("comparison", "accuracy_difference"), "sign_flip_p")
_MARGIN: Final = _Measured(("reward_margin", "mean"), ("comparison", "margin_difference"), None)
_AUC: Final = _Measured(("unpaired_auc", "auc"), ("unpaired_comparison", "auc_difference"), "auc_difference_p")


def _rows(config: RunConfig, table: str, *, own: bool) -> pl.DataFrame:
    """A trial's scored rows with rewards for log-probs: the method's own, or log-ratios to the reference, nats."""
    rows = read_table(config.run_dir / "metrics" / f"{table}.parquet", table).filter(pl.col("model") == TRAINED)
    sides = ("",) if table == "scored_unpaired" else ("chosen_", "rejected_")
    reward = reward_of_run(config)
    kind, beta = (reward.kind, reward.beta) if own else ("implicit", 1.0)
    rewards = [reward_of(kind, beta, side).alias(f"policy_{side}logps") for side in sides]
    kept = ["response_id", "label"] if table == "scored_unpaired" else ["pair_id"]
    return rows.select(*kept, "group_id", *rewards, *(f"{side}token_count" for side in sides))


def _scores(
    frames: Mapping[str, pl.DataFrame], kind: str, measured: _Measured, baseline: str, metrics: MetricsConfig
) -> Scores:
    settings = reward_settings(metrics, baseline)
    frames = {name: frame for name, frame in frames.items() if frame.height}

    def of(names: Sequence[str], evaluator: str) -> _Rows:
        if not names:
            return {}
        table = pl.concat([frames[name].with_columns(model=pl.lit(name)) for name in names])
        pairs, unpaired = (table, None) if kind == "pairs" else (None, table)
        found = evaluate(pairs, unpaired, settings, [evaluator])
        return {(row["evaluator"], row["metric"], row["model"]): row for row in found.iter_rows(named=True)}

    alone = of(list(frames), measured.value[0])
    gaps = {}
    for name in frames:
        # Two at a time, so that each p-value is one test's: they are corrected for the number of arms in the end.
        if name != baseline and baseline in frames:
            gaps[name] = gap_of(of([name, baseline], measured.difference[0]), measured.difference, measured.test, name)
    return Scores(
        {name: value_of(alone.get((*measured.value, name))) for name in frames},
        {name: gap for name, gap in gaps.items() if gap is not None},
        reasons_of(alone, measured.value, frames),
    )


def reasons_of(rows: _Rows, found: tuple[str, str], names: Iterable[str]) -> dict[str, str]:
    """Why arms have no value, as far as it was said.

    Args:
        rows: Of the arms.
        found: Evaluator and metric.
        names: The arms.
    """
    rows_of = {name: rows[*found, name] for name in names if (*found, name) in rows}
    return {name: str(row["reason"]) for name, row in rows_of.items() if row["value"] is None and row["reason"]}


def value_of(row: Mapping[str, object] | None) -> Value:
    """A row of `metrics` as a value."""
    if row is None:
        return _NOTHING
    return Value(*(row[name] for name in ("value", "ci_low", "ci_high", "n", "n_groups")))  # type: ignore[arg-type]


def gap_of(rows: _Rows, difference: tuple[str, str], test: str | None, name: str, even: float = 0.0) -> Gap | None:
    """A difference with its interval and its test; None where there is no such number.

    Args:
        rows: Of a comparison of two models.
        difference: Evaluator and metric.
        test: Metric of the same evaluator that holds its p-value; None: Student's t of its standard error.
        name: The model.
        even: What the number is where the two are equal.
    """
    row = rows.get((*difference, name))
    value = None if row is None else row["value"]
    if row is None or not isinstance(value, float):
        return None
    low, high, error = (row[key] for key in ("ci_low", "ci_high", "standard_error"))
    if test is not None:
        tested = rows.get((difference[0], test, name))
        p_value = None if tested is None else tested["value"]
    else:
        groups = row["n_groups"]
        assert isinstance(groups, int), "a number of groups"
        p_value = None if not isinstance(error, float) else t_test(value - even, error, groups)
    ends = [None if not isinstance(end, float) else end - even for end in (low, high)]
    return Gap(value - even, ends[0], ends[1], p_value if isinstance(p_value, float) else None)


def _moved(trials: Mapping[str, RunConfig], baseline: str) -> Scores:
    """How much less likely each model finds logged answers than the reference does: nats a token."""
    metrics = next(iter(trials.values())).metrics
    settings = reward_settings(metrics, baseline)
    sums = {name: found for name, config in trials.items() if (found := _log_ratios(config)).height}
    estimands = {name: _per_token(name, rows, None, settings) for name, rows in sums.items()}
    values = dict(zip(estimands, intervals(list(estimands.values()), settings), strict=True))
    gaps = {}
    for name in sums:
        if name == baseline or baseline not in sums:
            continue
        against = _per_token(name, sums[name], sums[baseline], settings)
        (metric,) = intervals([against], settings)
        told = value_and_error(against)
        if metric.value is not None:
            p_value = None if told is None else t_test(told.value, told.error, against.fewest)
            gaps[name] = Gap(metric.value, metric.ci_low, metric.ci_high, p_value)
    return Scores({name: value_of(metric._asdict()) for name, metric in values.items()}, gaps)


def _log_ratios(config: RunConfig) -> pl.DataFrame:
    """A row a held-out answer: `group_id`, `moved` (nats), `token_count`; of pairs where there are no unpaired rows."""
    folder = config.run_dir / "metrics"
    rows = read_table(folder / "scored_unpaired.parquet", "scored_unpaired").filter(pl.col("model") == TRAINED)
    moved = pl.col("reference_logps") - pl.col("policy_logps")
    if rows.height:
        return rows.sort("response_id").select("group_id", "token_count", moved=moved)
    pairs = read_table(folder / "scored_pairs.parquet", "scored_pairs").filter(pl.col("model") == TRAINED)
    sides = (
        pairs.sort("pair_id").select(
            "group_id",
            token_count=f"{side}_token_count",
            moved=pl.col(f"reference_{side}_logps") - pl.col(f"policy_{side}_logps"),
        )
        for side in ("chosen", "rejected")
    )
    return pl.concat(sides)


def _per_token(name: str, rows: pl.DataFrame, other: pl.DataFrame | None, settings: EvaluationSettings) -> Estimand:
    """Nats over tokens of all rows; less another model's on the same rows."""
    groups = group_numbers(rows["group_id"], settings.seed)
    source = Source("divergence", 1, name, groups, None if other is None else settings.baseline)
    parts = [_numbers(rows)] if other is None else [_numbers(rows), _numbers(other)]
    return Estimand(
        evaluator=source.evaluator,
        version=source.version,
        metric="moved",
        model=name,
        unit="nats",
        columns=[groups.unit_sums(column) for part in parts for column in part],
        formula=difference_of_means
        if other is not None
        else lambda totals: np.asarray(totals[..., 0] / totals[..., 1]),
        n=rows.height,
        n_groups=groups.present(),
        fewest=groups.present(),
        compared_with=source.compared_with,
    )


def _numbers(rows: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    return rows["moved"].cast(pl.Float64).to_numpy(), rows["token_count"].cast(pl.Float64).to_numpy()
