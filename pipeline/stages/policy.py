"""Held-out sequences to log-probs under the trained model, by the engine that scored the reference."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.artifacts import Counts
from pipeline.config import RunConfig
from pipeline.context import StageContext, StageResult
from pipeline.engines.registry import engine_identity
from pipeline.engines.scoring import score_table

VERSION = 1
INPUTS = ("sequences", "row_sequences")
FILES = ("model",)
OUTPUTS = ("policy",)


def settings(config: RunConfig) -> dict[str, Any]:
    """The reference's engine settings: two models compared must be scored alike."""
    return config.reference.model_dump(mode="json", exclude={"store", "shard_rows"})


def external(config: RunConfig) -> Mapping[str, str]:
    """What the engine is."""
    return engine_identity(config.reference)


def transform(sequences: pl.LazyFrame, row_sequences: pl.LazyFrame) -> pl.LazyFrame:
    """The sequences of held-out rows: those of the test split with their own prompt."""
    held_out = row_sequences.filter((pl.col("split") == "test") & (pl.col("role") == "matched"))
    return sequences.join(held_out.select("sequence_id").unique(), on="sequence_id", how="semi")


def run(context: StageContext) -> StageResult:
    """Read the held-out sequences, score them under the trained model, write `policy`."""
    sequences = transform(context.read("sequences").lazy(), context.read("row_sequences").lazy()).collect()
    result = score_table(
        sequences,
        context.run_dir / "train" / "model",
        context.config.reference,
        context.config.store_dir,
        context.config.reference.shard_rows,
        context.reporter,
        "trained model's log-probs",
    )
    return StageResult(
        outputs={"policy": context.write("policy", result.frame)},
        counts=Counts(rows_in=sequences.height, rows_out=result.frame.height),
        notes=result.notes,
    )
