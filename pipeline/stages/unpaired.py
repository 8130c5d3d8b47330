"""Responses to KTO-ready rows: every response with a label, as prompt, completion, label and weight.

Prompt and completion are message lists, the layout that TRL's KTO trainer and `datasets` read as they are.
"""

import polars as pl

from pipeline.artifacts import Counts
from pipeline.config import UnpairedConfig
from pipeline.context import StageContext, StageResult
from pipeline.identity import as_answer
from pipeline.tables import polars_schema

VERSION = 1
INPUTS = ("responses",)
OUTPUTS = ("unpaired",)


def transform(responses: pl.LazyFrame, config: UnpairedConfig) -> pl.LazyFrame:
    """Table `unpaired`, sorted by response id: the responses that are not abstained from."""
    weight = pl.col("weight") if config.weight_by_confidence else pl.lit(1.0)
    return (
        responses.filter(pl.col("label") != "abstain")
        .select(
            "response_id",
            "prompt_id",
            "prompt",
            completion=as_answer(pl.col("completion")),
            label=pl.col("label") == "desirable",
            weight=weight,
            probability_desirable=pl.col("probability_desirable"),
        )
        .select(list(polars_schema("unpaired")))
        .sort("response_id")
    )


def run(context: StageContext) -> StageResult:
    """Read `responses`, write `unpaired`."""
    responses = context.read("responses")
    rows = transform(responses.lazy(), context.config.unpaired).collect()
    desirable = int(rows["label"].sum())
    return StageResult(
        outputs={"unpaired": context.write("unpaired", rows)},
        counts=Counts(rows_in=responses.height, rows_out=rows.height, rejected=responses.height - rows.height),
        notes={"desirable": desirable, "undesirable": rows.height - desirable},
    )
