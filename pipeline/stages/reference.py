"""Sequences to reference log-probs: scored once by the engine, kept by content, joined from the store."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.artifacts import Counts
from pipeline.config import RunConfig
from pipeline.context import StageContext, StageResult
from pipeline.engines.models import model_digest, resolve_model, tokenizer_digest
from pipeline.engines.registry import engine_identity
from pipeline.engines.scoring import score_table

VERSION = 1
INPUTS = ("sequences",)
OUTPUTS = ("reference",)


def settings(config: RunConfig) -> dict[str, Any]:
    """What the log-probs depend on: not where they are kept, nor how many a shard holds."""
    return config.reference.model_dump(mode="json", exclude={"store", "shard_rows"})


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the model and its tokenizer, and what the engine is."""
    model_dir = resolve_model(config.model, config.revision)
    return {
        "model": model_digest(model_dir),
        "tokenizer": tokenizer_digest(model_dir),
        **engine_identity(config.reference),
    }


def run(context: StageContext) -> StageResult:
    """Read `sequences`, score what the store lacks, write `reference`."""
    sequences: pl.DataFrame = context.read("sequences")
    model_dir = resolve_model(context.config.model, context.config.revision)
    result = score_table(
        sequences,
        model_dir,
        context.config.reference,
        context.config.store_dir,
        context.config.reference.shard_rows,
        context.reporter,
        "reference log-probs",
    )
    return StageResult(
        outputs={"reference": context.write("reference", result.frame)},
        counts=Counts(rows_in=sequences.height, rows_out=result.frame.height),
        notes=result.notes,
    )
