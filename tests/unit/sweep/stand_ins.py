"""Trials that nobody trained: their scored rows and metrics, written as the stage `metrics` writes them."""

from collections.abc import Mapping, Sequence

import polars as pl

from tests.evaluator_rows import scored_pairs, scored_unpaired
from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.pipeline.config import build_config
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.storage.tables import write_table
from thumbline.pipeline.sweep import Axis, Plan, plan_sweep
from thumbline.pipeline.sweep.choosing import SettingResult, result_of
from thumbline.pipeline.sweep.measures import values_of
from thumbline.pipeline.sweep.plan import Trial
from thumbline.pipeline.sweep.trials import TrialResult
from thumbline.pipeline.tables import polars_schema


def sweep_plan(folder, betas=(0.05, 0.1, 0.3), seeds=(0,), metric="auto", method="dpo", axis="train.loss.beta"):
    document = {
        "name": "mine",
        "model": "demo",
        "runs": str(folder),
        "events": {"inputs": ["log.jsonl"]},
        "train": {"method": method},
        "metrics": {"bootstrap_draws": 200},
    }
    config = build_config(document, origin="test")
    return plan_sweep(config, [Axis(axis, tuple(betas))], seeds=seeds, metric=metric)


def _named(frame: pl.DataFrame, key: str, table: str) -> pl.DataFrame:
    """Rows with ids as the line makes them, and the columns that a run's rows have."""
    ids = [digest_text(value) for value in frame[key]]
    groups = [digest_text(value) for value in frame["group_id"]]
    made = frame.with_columns(pl.Series(key, ids), pl.Series("group_id", groups))
    if table == "scored_pairs":
        made = made.with_columns(chosen_better_probability=pl.lit(1.0))
    return made.select(name for name in polars_schema(table, optional=True) if name in made.columns).sort("model", key)


def write_trial(
    trial: Trial,
    margins: Sequence[float],
    *,
    rewards: tuple[Sequence[float], Sequence[float]] = ((1.0, 2.0), (-1.0, 0.5)),
    losses: Sequence[float] | None = None,
) -> TrialResult:
    """A trial that is done, with these margins of its pairs at its own beta (one prompt group each).

    Args:
        trial: The trial.
        margins: Log-ratio of chosen less that of rejected, of each pair.
        rewards: Log-ratios of desirable and of undesirable unpaired rows.
        losses: Loss of each pair; None for none stored.
    """
    pairs = pl.concat([scored_pairs(margins), scored_pairs([0.0] * len(margins), model="untrained")])
    unpaired = scored_unpaired(*rewards)
    if losses is not None:
        kept = pl.concat([pl.Series(losses), pl.Series([0.69] * len(margins))])
        pairs = pairs.with_columns(loss=kept)
    folder = trial.config.run_dir / "metrics"
    folder.mkdir(parents=True)
    beta = trial.config.train.loss.get("beta", 0.1)
    metrics = evaluate(pairs, unpaired, EvaluationSettings(beta=beta, bootstrap_draws=200))
    frames = {"scored_pairs": (pairs, "pair_id"), "scored_unpaired": (unpaired, "response_id")}
    for table, (frame, key) in frames.items():
        write_table(folder / f"{table}.parquet", table, _named(frame, key, table))
    write_table(folder / "metrics.parquet", "metrics", metrics)
    return TrialResult(trial, "done", values_of(metrics), None, 1.0, found=False)


def results_of(plan: Plan, margins: Mapping[float, Sequence[Sequence[float]]], **more) -> list[SettingResult]:
    """What became of each setting, by its value: one list of margins a seed."""
    results = []
    for setting in plan.settings:
        (value,) = setting.values.values()
        done = [write_trial(*one, **more) for one in zip(setting.trials, margins[value], strict=True)]
        results.append(result_of(setting, done))
    return results


def failed(setting, error="train: the gradient of step 3 is not finite") -> SettingResult:
    """A setting of which no trial could be trained."""
    return result_of(setting, [TrialResult(trial, "failed", {}, error, 0.0, found=False) for trial in setting.trials])
