"""The best setting against each other one, on the same held-out rows and by the same seeds: is it more than noise?"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Final, NamedTuple

import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.evaluators.paired_tests import holm, t_test
from thumbline.evaluators.rewards import reward_of
from thumbline.evaluators.uncertainty import t_quantile

from ..config import MetricsConfig, RunConfig
from ..report.evaluation_facts import TRAINED
from ..stages.metrics import reward_of_run
from ..storage.tables import read_table
from .measures import Measure
from .plan import Setting


class Comparison(NamedTuple):
    """The best setting less another one, in the chosen measure and so that above 0 is better.

    Attributes:
        other: Name of the other setting.
        difference: Mean over the seeds of the differences on the same rows.
        low: Lower end of its interval over prompt groups; None where there is none.
        high: Upper end.
        p_value: Of no difference, by prompt groups, corrected for all pairs of settings; None where there is no test.
        seeds_low: Lower end of the difference's interval over the seeds; None for one seed.
        seeds_high: Upper end.
        comparisons: How many pairs of settings the p-value is corrected for.
    """

    other: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    seeds_low: float | None
    seeds_high: float | None
    comparisons: int

    def is_more_than_noise(self, confidence: float) -> bool:
        """Whether rows and seeds, as far as both are known, agree that the best setting is better."""
        clear = [low > 0 for low in (self.low, self.seeds_low) if low is not None]
        return self.p_value is not None and self.p_value <= 1 - confidence and self.difference > 0 and all(clear)


class Gap(NamedTuple):
    """One seed's difference of two settings, the best less the other, as the evaluators give it."""

    value: float
    low: float | None
    high: float | None
    p_value: float | None


def compare_best(settings: Sequence[Setting], best: Setting, measure: Measure) -> list[Comparison]:
    """The best setting against each other one.

    Args:
        settings: Those whose trials are all done, the best among them.
        best: The best.
        measure: What they are chosen by. A win rate is a comparison already, with the untrained model: by it settings
            are not compared with each other.
    """
    if len(settings) < 2 or measure.name not in _EVALUATORS:
        return []
    gaps: dict[str, list[Gap]] = defaultdict(list)
    for place in range(len(best.trials)):
        configs = {setting.name: setting.trials[place].config for setting in settings}
        for name, gap in _gaps(configs, best.name, measure).items():
            gaps[name].append(gap)
    metrics = best.trials[0].config.metrics
    comparisons = len(settings) * (len(settings) - 1) // 2
    return [together(name, found, metrics.confidence, comparisons) for name, found in gaps.items()]


def together(other: str, gaps: Sequence[Gap], confidence: float, comparisons: int) -> Comparison:
    """One comparison of several seeds' differences; p-values as they come, corrected or not.

    Twice the mean of p-values is one, however they depend on each other; the mean of intervals' ends is as wide as the
    intervals are on average, which the mean of the differences is at most.

    Source: Vovk and Wang (2020), "Combining p-values via averaging".
    """
    values = [gap.value for gap in gaps]
    lows = [gap.low for gap in gaps if gap.low is not None]
    highs = [gap.high for gap in gaps if gap.high is not None]
    p_values = [gap.p_value for gap in gaps if gap.p_value is not None]
    bounded = len(lows) == len(highs) == len(gaps)
    tested = len(p_values) == len(gaps)
    reach = _reach(values, confidence)
    mean = fmean(values)
    return Comparison(
        other=other,
        difference=mean,
        low=fmean(lows) if bounded else None,
        high=fmean(highs) if bounded else None,
        p_value=min(1.0, fmean(p_values) * (2 if len(gaps) > 1 else 1)) if tested else None,
        seeds_low=None if reach is None else mean - reach,
        seeds_high=None if reach is None else mean + reach,
        comparisons=comparisons,
    )


def _reach(values: Sequence[float], confidence: float) -> float | None:
    """Half the width of Student's interval of a mean over seeds; None for one seed."""
    if len(values) < 2:
        return None
    return t_quantile(0.5 + confidence / 2, len(values)) * stdev(values) / math.sqrt(len(values))


# Which evaluator compares what, its difference, and its test corrected for all pairs of models.
_EVALUATORS: Final[Mapping[str, tuple[str, str, str | None]]] = {
    "accuracy": ("comparison", "accuracy_difference", "sign_flip_p"),
    "auc": ("unpaired_comparison", "auc_difference", "auc_difference_p"),
    "margin": ("comparison", "margin_difference", None),
    "loss": ("comparison", "margin_difference", None),
}


def _gaps(configs: Mapping[str, RunConfig], best: str, measure: Measure) -> dict[str, Gap]:
    """The best setting less each other one, by the other's name, in trials of one seed."""
    evaluator, difference, test = _EVALUATORS[measure.name]
    rows = pl.concat([_rows(config, measure, name) for name, config in configs.items()])
    settings = reward_settings(configs[best].metrics, best)
    pairs, unpaired = (None, rows) if measure.name == "auc" else (rows, None)
    table = evaluate(pairs, unpaired, settings, [evaluator])
    found = {(row["model"], row["compared_with"], row["metric"]): row for row in table.iter_rows(named=True)}
    differences = {pair[:2]: row for pair, row in found.items() if pair[2] == difference}
    tests = {pair: found[(*pair, test)]["value"] for pair in differences} if test else _t_tests(differences)
    return {
        other: Gap(
            -row["value"],
            None if row["ci_high"] is None else -row["ci_high"],
            None if row["ci_low"] is None else -row["ci_low"],
            tests[other, baseline],
        )
        for (other, baseline), row in differences.items()
        if baseline == best and row["value"] is not None
    }


def reward_settings(metrics: MetricsConfig, baseline: str) -> EvaluationSettings:
    """Those of the trials, for rows that hold rewards where log-probs stood.

    Args:
        metrics: Of the run.
        baseline: What others are compared with.
    """
    return EvaluationSettings(
        beta=1.0,
        reward="sum_logps",
        bootstrap_draws=metrics.bootstrap_draws,
        confidence=metrics.confidence,
        seed=metrics.seed,
        baseline=baseline,
    )


def _t_tests(differences: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[tuple[str, str], float | None]:
    """p-values of differences that have no exact test, from their clustered standard errors, by Holm's method."""
    known = {pair: row for pair, row in differences.items() if row["standard_error"] is not None}
    found = [t_test(row["value"], row["standard_error"], int(row["n_groups"])) for row in known.values()]
    return {pair: None for pair in differences} | dict(zip(known, holm(found), strict=True))


def _rows(config: RunConfig, measure: Measure, model: str) -> pl.DataFrame:
    """A trial's scored rows under a model's name, with each model's own reward for its log-probs."""
    if measure.name == "loss":
        return _losses(config).with_columns(model=pl.lit(model))
    table = "scored_unpaired" if measure.name == "auc" else "scored_pairs"
    sides = ("",) if measure.name == "auc" else ("chosen_", "rejected_")
    reward = reward_of_run(config)
    rewards = [reward_of(reward.kind, reward.beta, side).alias(f"policy_{side}logps") for side in sides]
    counts = [f"{side}token_count" for side in sides]
    kept = ["response_id", "label"] if measure.name == "auc" else ["pair_id"]
    return _scored(config, table).select(*kept, "group_id", *rewards, *counts, model=pl.lit(model))


def _scored(config: RunConfig, table: str) -> pl.DataFrame:
    rows = read_table(config.run_dir / "metrics" / f"{table}.parquet", table)
    return rows.filter(pl.col("model") == TRAINED)


def _losses(config: RunConfig) -> pl.DataFrame:
    """Rows as pairs whose margin is minus the loss, so that what compares margins compares losses."""
    pairs, unpaired = _scored(config, "scored_pairs"), _scored(config, "scored_unpaired")
    rows = pairs if pairs["loss"].null_count() < pairs.height else unpaired.rename({"response_id": "pair_id"})
    return rows.select(
        "pair_id",
        "group_id",
        policy_chosen_logps=-pl.col("loss"),
        policy_rejected_logps=pl.lit(0.0),
        chosen_token_count=pl.lit(1, pl.Int64),
        rejected_token_count=pl.lit(1, pl.Int64),
    )
