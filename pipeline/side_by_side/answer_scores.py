"""What arms write, on the same prompts: judged, measured, and each against the baseline, seed by seed."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from thumbline.evaluators import AnswerTables, EvaluationSettings, evaluate_answers

from ..config import RunConfig
from ..report.evaluation_facts import TRAINED, UNTRAINED
from ..report.judges import WINS
from ..stages.metrics import READ_OF_ANSWERS, answer_tables, calibrated_judge
from ..storage.tables import read_table
from ..sweep.comparing import Gap
from ..sweep.frontier import judge_of
from .scores import Scores, gap_of, reasons_of, value_of

# By measure: evaluator and metric against the untrained model or alone; then against the baseline, what holds its test,
# and what it is where the two are equal.
_ALONE: Final = {
    "win_rate": ((WINS, WINS), (WINS, WINS), "win_rate_p", 0.5),
    "thumbs_up": (
        ("predicted_thumbs_up", "rate"),
        ("predicted_thumbs_up", "rate_difference"),
        "rate_difference_p",
        0.0,
    ),
    "kl": (("answer_text", "kl_per_token"), ("answer_text", "kl_per_token_difference"), None, 0.0),
    "length": (("answer_text", "tokens_ratio"), ("answer_text", "tokens_ratio"), None, 1.0),
}
MEASURES: Final = tuple(_ALONE)
_TABLES: Final = {
    "generation_prompts": "generations",
    "generations": "generations",
    "judgements": "judgements",
    "judged_pairs": "judgements",
    "thumbs_scores": "thumbs",
}


def answer_scores(trials: Mapping[str, RunConfig], baseline: str) -> dict[str, Scores]:
    """What sampled answers say, by measure; nothing where none were sampled.

    A judge of single answers compares an arm's answers with the baseline's own. A judge of two answers saw each arm's
    beside the untrained model's alone, so by it arms are not compared with each other.

    Args:
        trials: Runs with metrics, by arm.
        baseline: The arm that others are compared with.
    """
    config = next(iter(trials.values()))
    if not config.generations.is_on:
        return {}
    tables = pooled(trials)
    if tables["generations"].is_empty():
        return {}
    judge = judge_of(config)
    alone = _evaluated(tables, [*trials, UNTRAINED], config, UNTRAINED, judge)
    gaps: dict[str, dict[str, Gap]] = {measure: {} for measure in _ALONE}
    for name in trials:
        if name == baseline or baseline not in trials:
            continue
        rows = _evaluated(tables, [name, baseline], config, baseline, judge)
        for measure, (_, difference, test, even) in _ALONE.items():
            gap = gap_of(rows, difference, test, name, even)
            if gap is not None:
                gaps[measure][name] = gap
    return {
        measure: Scores(
            {name: value_of(alone.get((*found, name))) for name in trials},
            gaps[measure],
            reasons_of(alone, found, trials),
        )
        for measure, (found, *_) in _ALONE.items()
    }


def pooled(trials: Mapping[str, RunConfig]) -> dict[str, pl.DataFrame]:
    """The tables of answers of all arms, each model's under its arm's name, the untrained model's once.

    Args:
        trials: Runs with metrics, by arm.
    """
    parts: dict[str, list[pl.DataFrame]] = {table: [] for table in _TABLES}
    for place, (name, config) in enumerate(trials.items()):
        own = {table: _read(config, table) for table in _TABLES}
        if place == 0:
            for table in ("generation_prompts", "thumbs_scores"):
                parts[table].append(own[table])
        kept = own["generations"].filter((pl.col("model") == TRAINED) | ((pl.col("model") == UNTRAINED) & (place == 0)))
        parts["generations"].append(_named(kept, name))
        ids = kept.select("generation_id", answered_by="model")
        judged = own["judgements"].join(ids, on="generation_id", how="inner", validate="m:1")
        parts["judgements"].append(_named(judged, name, "answered_by").drop("answered_by"))
        parts["judged_pairs"].append(_named(own["judged_pairs"].filter(pl.col("model") == TRAINED), name))
    return {table: pl.concat(found) for table, found in parts.items()}


def _read(config: RunConfig, table: str) -> pl.DataFrame:
    columns = list(READ_OF_ANSWERS[table])
    return read_table(config.run_dir / _TABLES[table] / f"{table}.parquet", table, columns)


def _named(rows: pl.DataFrame, name: str, model: str = "model") -> pl.DataFrame:
    """Rows of a trial's model under its arm's name; two arms may have written one text, whose ids are kept apart."""
    trained = pl.col(model) == TRAINED
    own = pl.format("{}:{}", pl.lit(name), "generation_id")
    return rows.with_columns(
        pl.when(trained).then(own).otherwise("generation_id").alias("generation_id"),
        pl.when(trained).then(pl.lit(name)).otherwise(model).alias(model),
    )


def _evaluated(
    tables: Mapping[str, pl.DataFrame], models: list[str], config: RunConfig, baseline: str, judge: str | None
) -> dict[tuple[str, str, str], Mapping[str, object]]:
    """Rows of `metrics` of some models' answers, by evaluator, metric and model: of win rates the first judge's."""
    answers = tables["generations"].filter(pl.col("model").is_in(models))
    shown = answers.select("generation_id")
    given = dict(tables) | {
        "generations": answers,
        "judgements": tables["judgements"].join(shown, on="generation_id", how="semi"),
        "judged_pairs": tables["judged_pairs"].filter(pl.col("model").is_in(models) & pl.col("baseline").is_in(models)),
    }
    found = evaluate_answers(_answer_tables(given), _settings(config, baseline), calibrated_judge(config))
    whole = found.filter(pl.col("slice").is_null(), pl.col("judge").is_null() | _counts(judge))
    return {(row["evaluator"], row["metric"], row["model"]): row for row in whole.iter_rows(named=True)}


def _counts(judge: str | None) -> pl.Expr:
    """Whose win rates count; predicted rates are the thumbs model's whoever decides."""
    return (pl.col("judge") == (judge or "")) | (pl.col("evaluator") != WINS)


def _answer_tables(tables: dict[str, pl.DataFrame]) -> AnswerTables:
    return answer_tables(tables)


def _settings(config: RunConfig, baseline: str) -> EvaluationSettings:
    metrics = config.metrics
    return EvaluationSettings(
        bootstrap_draws=metrics.bootstrap_draws,
        confidence=metrics.confidence,
        seed=metrics.seed,
        baseline=baseline,
        calibration=config.thumbs.calibration,
        most_outside=metrics.most_outside,
    )
