"""Held-out sequences to log-probs under the trained model, by the engine that scored the reference."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..engines.registry import engine_identity, open_engine
from ..engines.scoring import Scorer, score_table, scratch_folder
from ..storage.kept import trusted_manifest
from ..storage.manifests import Counts
from ..training.methods import makes_mismatched, takes_mismatched
from ..training.trained import trained_model

VERSION = 3
INPUTS = ("sequences", "row_sequences")
FILES = ("model",)
OUTPUTS = ("policy",)


def settings(config: RunConfig) -> dict[str, Any]:
    """The reference's engine settings: two models compared must be scored alike."""
    return {
        **config.reference.model_dump(mode="json", exclude={"store", "shard_rows"}),
        "mismatched": scores_mismatched(config),
        "split": config.metrics.split,
    }


def scores_mismatched(config: RunConfig) -> bool:
    """Whether mismatched rows are scored too: the loss on held-out rows of a method that takes them does."""
    return makes_mismatched(config) and takes_mismatched(config)


def external(config: RunConfig) -> Mapping[str, str]:
    """What the engine is."""
    return engine_identity(config.reference)


def transform(row_sequences: pl.LazyFrame, *, mismatched: bool, split: str = "test") -> pl.LazyFrame:
    """Ids of a split's sequences: of rows with their own prompt, and `mismatched` of those with another."""
    held_out = row_sequences.filter((pl.col("split") == split) & ((pl.col("role") == "matched") | mismatched))
    return held_out.select("sequence_id").unique()


def other_route(reference: Mapping[str, Any], policy: Mapping[str, Any]) -> str | None:
    """What to say where the two models were scored in different ways; None where they were not.

    Args:
        reference: Notes of the reference stage.
        policy: Notes of this one.
    """
    before, now = (f"{notes.get('engine')} by {notes.get('route')}" for notes in (reference, policy))
    if before == now:
        return None
    return (
        f"policy: the reference was scored by {before}, the trained model by {now}: their rounding differs, and small "
        f"rewards with it. Set reference.routes or reference.engine so that both are scored alike."
    )


def run(context: StageContext) -> StageResult:
    """Read the held-out sequences, score them under the trained model, write `policy`."""
    read = context.blocks("sequences")
    chosen = partial(transform, mismatched=scores_mismatched(context.config), split=context.config.metrics.split)
    rows = context.blocks("row_sequences")(["sequence_id", "role", "split"])
    # Each block is narrowed before the next is read: the held-out rows are few.
    held_out = pl.concat([chosen(block.lazy()).collect() for block in rows]).unique()

    def blocks(columns: list[str]) -> Iterator[pl.DataFrame]:
        for block in read(columns):
            yield block.join(held_out, on="sequence_id", how="semi")

    model = trained_model(context.config)
    with scratch_folder(context.folder) as scratch:
        result = score_table(
            blocks,
            Scorer(model.folder, model.engine, context.config.store, context.spread.engines or open_engine),
            context.config.reference.shard_rows,
            scratch,
            context.reporter,
            "trained model's log-probs",
        )
        written = context.write_batches("policy", result.results.batches())
    reference = trusted_manifest(context.run_dir / "reference")
    warning = None if reference is None else other_route(reference.notes, result.notes)
    if warning is not None:
        context.reporter.say(warning)
    return StageResult(
        outputs={"policy": written},
        counts=Counts(rows_in=held_out.height, rows_out=written.rows),
        notes=result.notes,
    )
