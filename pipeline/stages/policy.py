"""Held-out sequences to log-probs under the trained model, by the engine that scored the reference."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.artifacts import Counts
from pipeline.config import RunConfig
from pipeline.context import StageContext, StageResult
from pipeline.engines.registry import engine_identity
from pipeline.engines.scoring import score_table

VERSION = 2
INPUTS = ("sequences", "row_sequences")
FILES = ("model",)
OUTPUTS = ("policy",)


def settings(config: RunConfig) -> dict[str, Any]:
    """The reference's engine settings: two models compared must be scored alike."""
    return {
        **config.reference.model_dump(mode="json", exclude={"store", "shard_rows"}),
        "mismatched": scores_mismatched(config),
    }


def scores_mismatched(config: RunConfig) -> bool:
    """Whether KTO's mismatched rows are scored too: its loss on held-out rows takes their mean log-ratio."""
    return config.train.method == "kto" and config.needs_mismatched


def external(config: RunConfig) -> Mapping[str, str]:
    """What the engine is."""
    return engine_identity(config.reference)


def transform(sequences: pl.LazyFrame, row_sequences: pl.LazyFrame, *, mismatched: bool) -> pl.LazyFrame:
    """The sequences of the test split's rows with their own prompt, and with another one where `mismatched` is set."""
    held_out = row_sequences.filter((pl.col("split") == "test") & ((pl.col("role") == "matched") | mismatched))
    return sequences.join(held_out.select("sequence_id").unique(), on="sequence_id", how="semi")


def run(context: StageContext) -> StageResult:
    """Read the held-out sequences, score them under the trained model, write `policy`."""
    sequences, row_sequences = (context.read(name).lazy() for name in INPUTS)
    kept = transform(sequences, row_sequences, mismatched=scores_mismatched(context.config)).collect()
    result = score_table(
        kept,
        context.run_dir / "train" / "model",
        context.config.reference,
        context.config.store_dir,
        context.config.reference.shard_rows,
        context.reporter,
        "trained model's log-probs",
    )
    return StageResult(
        outputs={"policy": context.write("policy", result.frame)},
        counts=Counts(rows_in=kept.height, rows_out=result.frame.height),
        notes=result.notes,
    )
