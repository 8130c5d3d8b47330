"""Responses to KTO-ready rows: every response with a label, as prompt, completion, label and weight.

Prompt and completion are message lists, the layout that TRL's KTO trainer and `datasets` read as they are. A row's
weight is the product of what is asked for: confidence in [0, 1], exposure in [1, exposure_clip], recency in (0, 1];
cut to [min_weight, max_weight]. A response whose exposure was not logged has an exposure of 1.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from ..config import UnpairedConfig
from ..context import StageContext, StageResult
from ..evidence.exposure import effective_sample_size
from ..identity import as_answer
from ..storage.manifests import Counts, TableRecord, value_counts
from ..tables import polars_schema
from ..workers import IN_MEMORY, map_in_threads

VERSION = 3
INPUTS = ("responses", "texts")
OUTPUTS = ("unpaired",)


def transform(responses: pl.LazyFrame, config: UnpairedConfig) -> pl.LazyFrame:
    """Table `unpaired`, sorted by prompt id and response id: the responses that are not abstained from.

    Args:
        responses: Rows of table `responses` with their texts.
        config: Which weights multiply, and their bounds.
    """
    return (
        responses.filter(pl.col("label") != "abstain")
        .select(
            "response_id",
            "prompt_id",
            "prompt",
            "tools",
            completion=as_answer(pl.col("completion"), pl.col("completion_extra")),
            label=pl.col("label") == "desirable",
            weight=_weight(config),
            probability_desirable=pl.col("probability_desirable"),
        )
        .select(list(polars_schema("unpaired")))
        .sort("prompt_id", "response_id")
    )


def _weight(config: UnpairedConfig) -> pl.Expr:
    weight = pl.lit(1.0)
    if config.weight_by_confidence:
        weight = weight * pl.col("weight")
    if config.weight_by_exposure:
        weight = weight * pl.col("exposure_weight").fill_null(1.0)
    if config.weight_by_recency:
        weight = weight * pl.col("recency_weight")
    return weight.clip(config.min_weight, config.max_weight)


def run(context: StageContext) -> StageResult:
    """Read `responses` and `texts` a part at a time, write `unpaired`."""
    made = partial(made_of, config=context.config.unpaired)
    outputs = context.write_parts(map_in_threads(made, context.read_with_texts("responses")), OUTPUTS)
    return result(context, outputs)


def made_of(responses: pl.DataFrame, config: UnpairedConfig) -> dict[str, pl.DataFrame]:
    """The stage's table of one part of `responses` with their texts."""
    return {"unpaired": transform(responses.lazy(), config).collect(engine=IN_MEMORY)}


def result(context: StageContext, outputs: Mapping[str, TableRecord]) -> StageResult:
    """What the stage says, once its table is written."""
    abstained = context.read("responses", ("abstain_reason",))["abstain_reason"].drop_nulls()
    seen, rows = context.rows("responses"), outputs["unpaired"].rows
    return StageResult(
        outputs=outputs,
        counts=Counts(rows_in=seen, rows_out=rows, rejected=seen - rows),
        notes={**notes(context.written("unpaired", ("label", "weight"))), "abstained": value_counts(abstained)},
    )


def notes(rows: pl.DataFrame) -> dict[str, Any]:
    """Facts for the report, from the columns `label` and `weight`."""
    desirable = int(rows["label"].sum())
    weights = rows["weight"]
    spread = {} if rows.is_empty() else {"least": weights.min(), "mean": weights.mean(), "most": weights.max()}
    return {
        "desirable": desirable,
        "undesirable": rows.height - desirable,
        "weights": spread,
        "effective_sample_size": round(effective_sample_size(weights.to_numpy()), 1),
    }
