"""Held-out prompts to answers that the untrained and the trained model write."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..engines.adapters import adapter_digest, resolve_adapted
from ..engines.generating import AnswerModel, generate, other_model
from ..engines.models import model_digest, resolve_model, tokenizer_digest
from ..errors import InputError
from ..storage.digests import digest_text
from ..storage.manifests import Counts
from ..tables import polars_schema
from ..training.asked import (
    PROMPT_TABLES,
    asking,
    asking_identity,
    asking_settings,
    drawn,
    held_out_prompts,
    untrained_model,
)
from ..training.trained import trained_model

VERSION = 1
INPUTS = PROMPT_TABLES
FILES = ("model",)
OUTPUTS = ("generation_prompts", "generations")


def settings(config: RunConfig) -> dict[str, Any]:
    """Nothing but that it is off; else how answers are drawn and scored, not how many prompts a shard has."""
    if not config.generations.is_on:
        return {"samples": 0}
    return {
        **asking_settings(config),
        "split": config.metrics.split,
    }


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model and of further ones, and what the engines are."""
    if not config.generations.is_on:
        return {}
    models = {f"model {label}": _whole_digest(model) for label, model in config.generations.models.items()}
    return {**asking_identity(config), **models}


def _whole_digest(model: str) -> str:
    adapted = resolve_adapted(model)
    adapter = "" if adapted.adapter is None else adapter_digest(adapted.adapter)
    return digest_text(model_digest(adapted.model_dir), tokenizer_digest(adapted.tokenizer_dir), adapter)


def answering(config: RunConfig) -> list[AnswerModel]:
    """The run's untrained and trained model, then further ones."""
    base = resolve_model(config.model, config.revision)
    trained = trained_model(config)
    return [
        untrained_model(config),
        AnswerModel("trained", trained.folder, trained.engine, base),
        *(other_model(label, model, config.reference) for label, model in config.generations.models.items()),
    ]


def run(context: StageContext) -> StageResult:
    """Sample what the store lacks, score it, write both tables; empty ones where no answers are asked for."""
    config = context.config
    if not config.generations.is_on:
        empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
        return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
    every = held_out_prompts(context, config.metrics.split)
    if every.is_empty():
        raise InputError(f"generations: no prompt of the {config.metrics.split} split has a row with a sequence.")
    prompts = drawn(every, config.generations.prompts, config.generations.seed)
    made = generate(prompts, answering(config), asking(config), context.reporter)
    said = list(made.said)
    if prompts.height < every.height:
        said.append(
            f"{prompts.height:,} of {every.height:,} prompts of the {config.metrics.split} split were drawn "
            f"(generations.prompts)."
        )
    outputs = {"generation_prompts": context.write("generation_prompts", prompts)}
    outputs["generations"] = context.write("generations", made.frame)
    return StageResult(
        outputs=outputs,
        # Each prompt is answered by each model, or said to have no room.
        counts=Counts(
            rows_in=every.height,
            rows_out=prompts.height,
            rejected=every.height - prompts.height,
            made={"answers": made.frame.height},
        ),
        notes={
            "prompts": prompts.height,
            "held_out_prompts": every.height,
            "models": made.models,
            "reference_key": made.reference_key,
            "said": said,
        },
    )
