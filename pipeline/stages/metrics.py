"""Stored log-probs to scored rows, and scored rows to metrics with intervals.

Held-out pairs and unpaired rows are scored twice from stored log-probs: as the untrained model (its policy
log-probs are the reference's) and as the trained one. Metrics come from these rows alone, so no batch size,
order or number of processes can change them.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import polars as pl

from evaluators import EvaluationSettings, evaluate
from pipeline.artifacts import Counts
from pipeline.config import RunConfig
from pipeline.context import StageContext, StageResult
from pipeline.tables import polars_schema

VERSION = 1
INPUTS = ("pairs", "unpaired", "splits", "sequences", "row_sequences", "reference", "policy")
OUTPUTS = ("scored_pairs", "scored_unpaired", "metrics")

# Methods that train without a reference: their own reward is the log-prob itself, not a ratio.
_REWARD_OF_METHOD: Mapping[str, Literal["sum_logps", "mean_logps"]] = {
    "orpo": "mean_logps",
    "simpo": "mean_logps",
    "alphapo": "mean_logps",
    "cpo": "sum_logps",
}
_DEFAULT_BETA = 0.1


class ScoredRows(NamedTuple):
    """Held-out rows, one a model."""

    pairs: pl.DataFrame
    unpaired: pl.DataFrame


def settings(config: RunConfig) -> dict[str, Any]:
    """The metrics' own settings, and what they take from the method."""
    return {**config.metrics.model_dump(mode="json"), "reward": reward_kind(config), "beta": reward_beta(config)}


def reward_kind(config: RunConfig) -> Literal["implicit", "sum_logps", "mean_logps"]:
    """What a row's reward is: as set, or what the method trains."""
    if config.metrics.reward != "auto":
        return config.metrics.reward
    return _REWARD_OF_METHOD.get(config.train.method, "implicit")


def reward_beta(config: RunConfig) -> float:
    """Scale of the implicit reward: as set, or the method's own beta."""
    if config.metrics.beta is not None:
        return config.metrics.beta
    return float(config.train.loss.get("beta", _DEFAULT_BETA))


def transform(tables: Mapping[str, pl.DataFrame]) -> ScoredRows:
    """Scored pairs and unpaired rows of the test split, for the untrained and the trained model.

    Args:
        tables: This stage's input tables by name. A row whose sequence was dropped is not scored.
    """
    groups = tables["splits"].filter(pl.col("split") == "test").select("prompt_id", "group_id")
    by_response = _logps_by_response(tables)
    pairs = tables["pairs"].join(groups, on="prompt_id", how="inner", validate="m:1")
    for side in ("chosen", "rejected"):
        renamed = by_response.rename(lambda name, side=side: f"{side}_{name}")  # type: ignore[misc]
        pairs = pairs.join(renamed, on=f"{side}_response_id", how="inner", validate="m:1")
    unpaired = (
        tables["unpaired"]
        .join(groups, on="prompt_id", how="inner", validate="m:1")
        .join(by_response, on="response_id", how="inner", validate="1:1")
    )
    return ScoredRows(_per_model_pairs(pairs), _per_model_unpaired(unpaired))


def _logps_by_response(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`response_id`, `reference_logps`, `policy_logps` and `token_count` of held-out responses."""
    matched = tables["row_sequences"].filter((pl.col("role") == "matched") & (pl.col("split") == "test"))
    reference = tables["reference"].select("sequence_id", "token_count", reference_logps="logps")
    policy = tables["policy"].select("sequence_id", policy_logps="logps")
    return (
        matched.select("response_id", "sequence_id")
        .join(reference, on="sequence_id", how="inner", validate="m:1")
        .join(policy, on="sequence_id", how="inner", validate="m:1")
        .select("response_id", "reference_logps", "policy_logps", "token_count")
    )


def _per_model_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    parts = [
        pairs.select(
            "pair_id",
            "group_id",
            model=pl.lit(model),
            policy_chosen_logps=f"chosen_{source}",
            policy_rejected_logps=f"rejected_{source}",
            reference_chosen_logps="chosen_reference_logps",
            reference_rejected_logps="rejected_reference_logps",
            chosen_token_count="chosen_token_count",
            rejected_token_count="rejected_token_count",
            chosen_better_probability="chosen_better_probability",
        )
        for model, source in (("untrained", "reference_logps"), ("trained", "policy_logps"))
    ]
    return pl.concat(parts).select(list(polars_schema("scored_pairs"))).sort("model", "pair_id")


def _per_model_unpaired(unpaired: pl.DataFrame) -> pl.DataFrame:
    parts = [
        unpaired.select(
            "response_id",
            "group_id",
            model=pl.lit(model),
            label="label",
            policy_logps=source,
            reference_logps="reference_logps",
            token_count="token_count",
        )
        for model, source in (("untrained", "reference_logps"), ("trained", "policy_logps"))
    ]
    return pl.concat(parts).select(list(polars_schema("scored_unpaired"))).sort("model", "response_id")


def run(context: StageContext) -> StageResult:
    """Read what was scored, write `scored_pairs`, `scored_unpaired` and `metrics`."""
    config = context.config
    tables = {name: context.read(name) for name in INPUTS}
    scored = transform(tables)
    evaluated = evaluate(
        scored.pairs,
        scored.unpaired,
        EvaluationSettings(
            beta=reward_beta(config),
            reward=reward_kind(config),
            bootstrap_draws=config.metrics.bootstrap_draws,
            confidence=config.metrics.confidence,
            seed=config.metrics.seed,
        ),
    )
    held_out = tables["splits"].filter(pl.col("split") == "test").select("prompt_id")
    rows_in = sum(tables[kind].join(held_out, on="prompt_id", how="semi").height for kind in ("pairs", "unpaired"))
    rows_out = (scored.pairs.height + scored.unpaired.height) // 2
    return StageResult(
        outputs={
            "scored_pairs": context.write("scored_pairs", scored.pairs),
            "scored_unpaired": context.write("scored_unpaired", scored.unpaired),
            "metrics": context.write("metrics", evaluated),
        },
        counts=Counts(rows_in=rows_in, rows_out=rows_out, rejected=rows_in - rows_out),
        notes={"reward": reward_kind(config), "beta": reward_beta(config), "pairs": scored.pairs.height // 2},
    )
