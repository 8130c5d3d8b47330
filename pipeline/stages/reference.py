"""Sequences to reference log-probs: scored once by the engine, kept by content, joined from the store."""

from collections.abc import Mapping
from typing import Any

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..engines.models import resolve_model
from ..engines.registry import open_engine
from ..engines.scoring import Opener, Scorer, score_table, scorer_key, scratch_folder
from ..storage.manifests import Counts

VERSION = 2
INPUTS = ("sequences",)
OUTPUTS = ("reference",)


def settings(config: RunConfig) -> dict[str, Any]:
    """What the log-probs depend on: not where they are kept, nor how many a shard holds."""
    return config.reference.model_dump(mode="json", exclude={"store", "shard_rows"})


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the model, its tokenizer and adapter, and what the engine is."""
    return scorer_key(resolve_model(config.model, config.revision), config.reference)


def scorer(config: RunConfig, opener: Opener = open_engine) -> Scorer:
    """The reference model, its engine and the store."""
    return Scorer(resolve_model(config.model, config.revision), config.reference, config.store, opener)


def run(context: StageContext) -> StageResult:
    """Read `sequences` a block at a time, score what the store lacks, write `reference`."""
    with scratch_folder(context.folder) as scratch:
        result = score_table(
            context.blocks("sequences"),
            scorer(context.config, context.spread.engines or open_engine),
            context.config.reference.shard_rows,
            scratch,
            context.reporter,
            "reference log-probs",
        )
        written = context.write_batches("reference", result.results.batches())
    return StageResult(
        outputs={"reference": written},
        counts=Counts(rows_in=context.rows("sequences"), rows_out=written.rows),
        notes=result.notes,
    )
