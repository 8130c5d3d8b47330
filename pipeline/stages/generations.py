"""Held-out prompts to answers that the untrained and the trained model write."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..engines.adapters import adapter_digest, resolve_adapted
from ..engines.generating import AnswerModel, Asking, generate, other_model
from ..engines.models import model_digest, resolve_model, tokenizer_digest
from ..engines.registry import choose_sampler, sampler_identity
from ..engines.scoring import Scorer, scorer_key
from ..errors import InputError
from ..evidence.slices import response_facts
from ..storage.digests import digest_text
from ..storage.manifests import Counts
from ..tables import polars_schema
from ..training.trained import trained_model

VERSION = 1
INPUTS = ("responses", "splits", "sequences", "row_sequences")
FILES = ("model",)
OUTPUTS = ("generation_prompts", "generations")

_READ: Final = ["response_id", "prompt_id", "prompt", "tools", "model", "n_up", "n_down"]


def settings(config: RunConfig) -> dict[str, Any]:
    """Nothing but that it is off; else how answers are drawn and scored, not how many prompts a shard has."""
    if not config.generations.is_on:
        return {"samples": 0}
    return {
        **config.generations.model_dump(mode="json", exclude={"batch_prompts"}),
        "scoring": config.reference.model_dump(mode="json", exclude={"store", "shard_rows"}),
        "split": config.metrics.split,
    }


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model and of further ones, and what the engines are."""
    if not config.generations.is_on:
        return {}
    sampler = sampler_identity(choose_sampler(config.generations.engine), config.reference)
    key = scorer_key(resolve_model(config.model, config.revision), config.reference)
    key |= {f"sampler {part}": value for part, value in sampler.items()}
    return key | {f"model {label}": _whole_digest(model) for label, model in config.generations.models.items()}


def _whole_digest(model: str) -> str:
    adapted = resolve_adapted(model)
    adapter = "" if adapted.adapter is None else adapter_digest(adapted.adapter)
    return digest_text(model_digest(adapted.model_dir), tokenizer_digest(adapted.tokenizer_dir), adapter)


def transform(
    row_sequences: pl.DataFrame, sequences: pl.DataFrame, responses: pl.DataFrame, splits: pl.DataFrame
) -> pl.DataFrame:
    """Table `generation_prompts`: each prompt once, with the token ids that answers to it continue.

    Where a prompt was cut, or its end shortened, more for one answer than for another, its longest form counts.

    Args:
        row_sequences: Rows of one split with their own prompt.
        sequences: Their sequence_id and prompt_token_ids.
        responses: Their columns `_READ`.
        splits: Table `splits`.
    """
    facts = response_facts(responses).select("response_id", "script", "turns")
    rows = (
        row_sequences.select("response_id", "sequence_id")
        .join(sequences, on="sequence_id", how="inner", validate="m:1")
        .join(responses.select("response_id", "prompt_id", "prompt", "tools"), on="response_id", validate="m:1")
        .join(facts, on="response_id", how="left", validate="m:1")
        .sort(pl.col("prompt_token_ids").list.len(), "response_id", descending=[True, False])
        .unique("prompt_id", keep="first", maintain_order=True)
    )
    table = rows.join(splits, on="prompt_id", how="left", validate="1:1")
    return table.select(list(polars_schema("generation_prompts", optional=True))).sort("prompt_id")


def drawn(prompts: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many prompts, in an order that the seed makes: a larger number keeps those of a smaller one."""
    place = pl.Series("place", [digest_text(str(seed), name) for name in prompts["prompt_id"]])
    return prompts.with_columns(place).sort("place").head(most).drop("place").sort("prompt_id")


def answering(config: RunConfig) -> list[AnswerModel]:
    """The run's untrained and trained model, then further ones."""
    base = resolve_model(config.model, config.revision)
    trained = trained_model(config)
    return [
        AnswerModel("untrained", base, config.reference, base),
        AnswerModel("trained", trained.folder, trained.engine, base),
        *(other_model(label, model, config.reference) for label, model in config.generations.models.items()),
    ]


def asking(config: RunConfig) -> Asking:
    """How the run's settings ask a model."""
    base = resolve_model(config.model, config.revision)
    scorer = Scorer(base, config.reference, config.store)
    return Asking(config.generations, config.sequences, scorer, base, config.reference.shard_rows)


def _held_out(context: StageContext) -> pl.DataFrame:
    """All prompts of the split; tables are narrowed a block at a time, since the held-out rows are few."""
    split = context.config.metrics.split
    own = (pl.col("split") == split) & (pl.col("role") == "matched")
    rows = pl.concat([block.filter(own) for block in context.blocks("row_sequences")(_COLUMNS["row_sequences"])])
    sequences, responses = (
        pl.concat([block.join(rows, on=key, how="semi") for block in context.blocks(table)(_COLUMNS[table])])
        for table, key in (("sequences", "sequence_id"), ("responses", "response_id"))
    )
    splits = pl.concat(
        [block.filter(pl.col("split") == split) for block in context.blocks("splits")(_COLUMNS["splits"])]
    )
    return transform(rows, sequences, responses, splits)


_COLUMNS: Final = {
    "row_sequences": ["response_id", "sequence_id", "role", "split"],
    "sequences": ["sequence_id", "prompt_token_ids"],
    "responses": _READ,
    "splits": ["prompt_id", "group_id", "split"],
}


def run(context: StageContext) -> StageResult:
    """Sample what the store lacks, score it, write both tables; empty ones where no answers are asked for."""
    config = context.config
    if not config.generations.is_on:
        empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
        return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
    every = _held_out(context)
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
        counts=Counts(rows_in=every.height, rows_out=prompts.height, rejected=every.height - prompts.height),
        notes={
            "prompts": prompts.height,
            "held_out_prompts": every.height,
            "models": made.models,
            "reference_key": made.reference_key,
            "said": said,
        },
    )
