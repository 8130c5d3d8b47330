"""Which prompts sampled answers are to, and how a run's settings ask for them."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from ..config import RunConfig
from ..context import StageContext
from ..engines.generating import AnswerModel, Asking
from ..engines.models import resolve_model
from ..engines.registry import choose_sampler, sampler_identity
from ..engines.scoring import Scorer, scorer_key
from ..evidence.slices import response_facts
from ..judges.registry import what_decides
from ..storage.digests import digest_text
from ..storage.texts import with_texts
from ..tables import polars_schema

# Tables that hold the prompts.
PROMPT_TABLES: Final = ("responses", "texts", "splits", "sequences", "row_sequences")

_THOUGHT: Final = "thought_token_count"
_COLUMNS: Final = {
    "row_sequences": ["response_id", "sequence_id", "role", "split"],
    "sequences": ["sequence_id", "prompt_token_ids"],
    "responses": ["response_id", "prompt_id", "model", "n_up", "n_down"],
    "texts": ["response_id", "prompt", "tools"],
    "splits": ["prompt_id", "group_id", "split"],
}


def prompts_of(
    row_sequences: pl.DataFrame, sequences: pl.DataFrame, responses: pl.DataFrame, splits: pl.DataFrame
) -> pl.DataFrame:
    """Table `generation_prompts`: each prompt once, with the token ids that answers to it continue.

    Where a prompt was cut, or its end shortened, more for one answer than for another, its longest form counts.

    Args:
        row_sequences: Rows of one split with their own prompt.
        sequences: Their sequence_id and prompt_token_ids.
        responses: Their prompts, models and votes.
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


def held_out_prompts(context: StageContext, split: str) -> pl.DataFrame:
    """All prompts of a split; tables are narrowed a block at a time, since the held-out rows are few.

    Args:
        context: Of a stage that reads `PROMPT_TABLES`.
        split: Name of the split.
    """
    own = (pl.col("split") == split) & (pl.col("role") == "matched")
    rows = pl.concat([block.filter(own) for block in context.blocks("row_sequences")(_COLUMNS["row_sequences"])])
    columns = dict(_COLUMNS)
    if context.config.sequences.think == "mask":
        columns["sequences"] = [*columns["sequences"], _THOUGHT]
    sequences, responses, texts = (
        pl.concat([block.join(rows, on=key, how="semi") for block in context.blocks(table)(columns[table])])
        for table, key in (("sequences", "sequence_id"), ("responses", "response_id"), ("texts", "response_id"))
    )
    responses = with_texts(responses, texts, "responses", ("prompt", "tools"))
    if _THOUGHT in sequences.columns:
        # An answer is sampled with its thoughts: those of a logged answer are no part of what it continues.
        before = pl.col("prompt_token_ids").list.len() - pl.col(_THOUGHT)
        sequences = sequences.with_columns(pl.col("prompt_token_ids").list.head(before)).drop(_THOUGHT)
    splits = pl.concat(
        [block.filter(pl.col("split") == split) for block in context.blocks("splits")(_COLUMNS["splits"])]
    )
    return prompts_of(rows, sequences, responses, splits)


def drawn(prompts: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many prompts, in an order that the seed makes: a larger number keeps those of a smaller one."""
    place = pl.Series("place", [digest_text(str(seed), name) for name in prompts["prompt_id"]])
    return prompts.with_columns(place).sort("place").head(most).drop("place").sort("prompt_id")


def untrained_model(config: RunConfig) -> AnswerModel:
    """The run's untrained model."""
    base = resolve_model(config.model, config.revision)
    return AnswerModel("untrained", base, config.reference, base)


def asking(config: RunConfig) -> Asking:
    """How the run's settings ask a model."""
    base = resolve_model(config.model, config.revision)
    scorer = Scorer(base, config.reference, config.store)
    return Asking(config.generations, config.sequences, scorer, base, config.reference.shard_rows)


def asking_settings(config: RunConfig) -> dict[str, Any]:
    """How answers are drawn and scored, not how many prompts a shard has."""
    return {
        **config.generations.model_dump(mode="json", exclude={"batch_prompts"}),
        "scoring": config.reference.model_dump(mode="json", exclude={"store", "shard_rows"}),
    }


def asking_identity(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model, and what the engines are."""
    sampler = sampler_identity(choose_sampler(config.generations.engine), config.reference)
    key = scorer_key(resolve_model(config.model, config.revision), config.reference)
    return key | {f"sampler {part}": value for part, value in sampler.items()}


def choosing_settings(config: RunConfig) -> dict[str, Any]:
    """What decides which step `train.choose: frontier` keeps: how it is asked, who judges, how sure that is."""
    sure = config.metrics.model_dump(mode="json", include={"bootstrap_draws", "confidence", "seed"})
    judge = what_decides(config.judges[0])
    text = config.sequences.model_dump(mode="json", include={"template", "template_options", "system"})
    return {
        "choose": config.train.choose,
        "asked": asking_settings(config),
        "judge": judge,
        "text": text,
        "sure": sure,
        "most_broken": config.report.most_broken,
    }
