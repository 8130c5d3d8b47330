"""Prompts and models to table `generations`: sampled answers, their texts, and their log-probs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import EngineConfig, GenerationsConfig, SequencesConfig
from ..context import Reporter
from ..errors import InputError
from ..identity import digest, joined
from ..tables import polars_schema
from .adapters import resolve_adapted
from .answers import Writer, sample_answers
from .encoded import sequence_ids
from .encoding import Encoder, encoder_for
from .ending import context_tokens, end_token_ids
from .sampling import sampling_settings
from .scoring import Scorer, score_frame

# What a prompt is written with to find where an answer to it would begin.
_PROBE: Final = "Yes."
_SCORED: Final = "sequence_id"


class AnswerModel(NamedTuple):
    """A model whose answers are wanted.

    Attributes:
        label: What the table calls it.
        model_dir: Folder of its weights, or of its adapter's base model.
        engine: Engine settings, with its adapter where it has one: how its answers are scored.
        tokenizer_dir: Folder of its tokenizer.
        renders: Whether it writes the prompts by its own template; else they are taken as they are given.
    """

    label: str
    model_dir: Path
    engine: EngineConfig
    tokenizer_dir: Path
    renders: bool = False


class Asking(NamedTuple):
    """How models are asked.

    Attributes:
        generations: Samples and how they are drawn.
        text: How text becomes tokens.
        reference: The model that all answers are scored under, with its engine and store.
        tokenizer_dir: Folder of its tokenizer, whose ids the given prompts have.
        shard_rows: Sequences a shard of log-probs.
    """

    generations: GenerationsConfig
    text: SequencesConfig
    reference: Scorer
    tokenizer_dir: Path
    shard_rows: int


class Generated(NamedTuple):
    """Answers of all models.

    Attributes:
        frame: Table `generations`, sorted by prompt_id, model and sample.
        models: For each label: engine, key, what was sampled, stored and cut, and the key of its own log-probs.
        reference_key: Key of the log-probs under the reference; None where none could be scored.
        said: Sentences on what a reader should know.
    """

    frame: pl.DataFrame
    models: dict[str, dict[str, Any]]
    reference_key: str | None
    said: list[str]


class _Scored(NamedTuple):
    """Answers with a column of log-probs, and the key that those lie under; None where there are none."""

    frame: pl.DataFrame
    store_key: str | None


class Written(NamedTuple):
    """Answers of one model, without log-probs.

    Attributes:
        frame: Columns of table `generations` but for the log-probs, with `prompt_token_ids` and `is_comparable`:
            whether the reference knows these token ids.
        notes: What was sampled.
        said: What a reader should know.
    """

    frame: pl.DataFrame
    notes: dict[str, Any]
    said: list[str]


def other_model(label: str, model: str, engine: EngineConfig) -> AnswerModel:
    """A model that a user names, by its own tokenizer and template.

    Args:
        label: What the table calls it.
        model: Folder or hub id of a model or an adapter, or `demo`.
        engine: Engine settings; the adapter in them is not this model's.

    Raises:
        InputError: It cannot be had.
    """
    adapted = resolve_adapted(model)
    adapter = None if adapted.adapter is None else str(adapted.adapter)
    config = engine.model_copy(update={"adapter": adapter})
    return AnswerModel(label, adapted.model_dir, config, adapted.tokenizer_dir, renders=True)


def generate(prompts: pl.DataFrame, models: Sequence[AnswerModel], how: Asking, reporter: Reporter) -> Generated:
    """Answers of every model to every prompt, under the reference and under the model that wrote them.

    Args:
        prompts: Columns prompt_id, group_id, prompt_token_ids, and prompt and tools for models that render.
        models: Who answers.
        how: How they are asked.
        reporter: Where progress goes.

    Raises:
        EngineError: A model cannot be sampled from or scored.
        InputError: A model takes none of the prompts.
    """
    written = [write(prompts, model, how, reporter) for model in models]
    frame = pl.concat([part.frame for part in written])
    under = _with_logps(frame, pl.col("is_comparable"), "reference_logps", how, how.reference, "untrained", reporter)
    notes, scored = {}, []
    for model, part in zip(models, written, strict=True):
        own = under.frame.filter(pl.col("model") == model.label)
        scorer = Scorer(model.model_dir, model.engine, how.reference.store)
        if scorer == how.reference and bool(own["is_comparable"].all()):
            own_scored = _Scored(own.with_columns(policy_logps="reference_logps"), under.store_key)
        else:
            own_scored = _with_logps(own, pl.lit(True), "policy_logps", how, scorer, model.label, reporter)
        scored.append(own_scored.frame)
        notes[model.label] = part.notes | {"scored_under": own_scored.store_key, "renders": model.renders}
    table = pl.concat(scored).select(list(polars_schema("generations"))).sort("prompt_id", "model", "sample")
    return Generated(table, notes, under.store_key, [sentence for part in written for sentence in part.said])


def write(prompts: pl.DataFrame, model: AnswerModel, how: Asking, reporter: Reporter) -> Written:
    """Answers of one model to every prompt, which are not scored.

    Args:
        prompts: As `generate` takes them.
        model: Who answers.
        how: How it is asked.
        reporter: Where progress goes.

    Raises:
        EngineError: The model cannot be sampled from.
        InputError: It takes none of the prompts.
    """
    encoder = encoder_for(model.tokenizer_dir, how.text)
    asked, said = _asked(prompts, model, encoder, how)
    ends = end_token_ids(model.model_dir, encoder)
    settings = sampling_settings(how.generations, ends)
    writer = Writer(model.model_dir, model.engine, how.generations, settings, how.reference.store)
    answers = sample_answers(asked, writer, reporter, f"answers of {model.label}")
    ids = answers.frame["completion_token_ids"].to_list()
    # The end token is no control token inside of an answer.
    inner = [row[:-1] if finish == "stop" else row for row, finish in zip(ids, answers.frame["finish"], strict=True)]
    texts = pl.Series("completion", encoder.texts(inner), dtype=pl.String)
    frame = answers.frame.with_columns(texts, model=pl.lit(model.label))
    frame = frame.join(asked, on="prompt_id", how="left", validate="m:1")
    key = pl.lit(answers.notes["store_key"])
    named = joined(pl.col("prompt_id"), pl.col("model"), pl.col("sample").cast(pl.String), key)
    frame = frame.with_columns(generation_id=digest(named)).sort("prompt_id", "sample")
    notes = answers.notes | {
        "prompts": asked.height,
        "tokens": int(frame["token_count"].sum()),
        "cut": int((frame["finish"] == "length").sum()),
        "empty": int((frame["completion"].str.strip_chars() == "").sum()),
        "control_tokens": sum(encoder.holds_control(row) for row in inner),
        "end_tokens": len(ends),
    }
    return Written(frame, notes, [*said, *_told(model.label, notes, how.generations.max_new_tokens)])


def _asked(prompts: pl.DataFrame, model: AnswerModel, encoder: Encoder, how: Asking) -> tuple[pl.DataFrame, list[str]]:
    """Columns prompt_id, group_id, prompt_token_ids and is_comparable of the prompts that a model takes."""
    table = prompts.select("prompt_id", "group_id", "prompt_token_ids", is_comparable=pl.lit(True))
    said = []
    if model.renders:
        table = _rendered(prompts, encoder, encoder_for(how.tokenizer_dir, how.text))
        if refused := prompts.height - table.height:
            said.append(f"{model.label}: {refused:,} of {prompts.height:,} prompts are none that its template takes.")
    longest, room = context_tokens(model.model_dir), how.generations.max_new_tokens
    if longest is not None:
        fits = table.filter(pl.col("prompt_token_ids").list.len() + room <= longest)
        if left_out := table.height - fits.height:
            said.append(
                f"{model.label}: {left_out:,} of {table.height:,} prompts leave no room for {room} new tokens in its "
                f"{longest:,} and have no answers. Lower generations.max_new_tokens to keep them."
            )
        table = fits
    if table.is_empty():
        raise InputError(f"generations: {model.label} takes none of the {prompts.height:,} prompts. {' '.join(said)}")
    return table, said


def _rendered(prompts: pl.DataFrame, encoder: Encoder, given: Encoder) -> pl.DataFrame:
    """Prompts by a model's own template; comparable where all its token ids are the given ones'."""
    asking = prompts.select("prompt_id", "group_id", "prompt", "tools", "prompt_token_ids", completion=pl.lit(_PROBE))
    encoded = list(encoder.encode_rows(asking, group="prompt_id"))
    own = pl.Series("own", [entry.prompt_token_ids for entry in encoded], dtype=prompts.schema["prompt_token_ids"])
    table = asking.with_columns(own, is_taken=pl.Series([entry.drop_reason is None for entry in encoded]))
    same = encoder.vocabulary == given.vocabulary
    return (
        table.filter("is_taken")
        .select(
            "prompt_id",
            "group_id",
            is_comparable=(pl.col("own") == pl.col("prompt_token_ids")) & same,
            prompt_token_ids="own",
        )
        .select("prompt_id", "group_id", "prompt_token_ids", "is_comparable")
    )


def _with_logps(
    frame: pl.DataFrame, which: pl.Expr, column: str, how: Asking, scorer: Scorer, name: str, reporter: Reporter
) -> _Scored:
    """Answers with the log-probs of some of them under a model; missing for the others."""
    named = frame.with_columns(sequence_id=sequence_ids())
    rows = named.filter(which & (pl.col("token_count") > 0)).unique(_SCORED, keep="first", maintain_order=True)
    if rows.is_empty():
        return _Scored(frame.with_columns(pl.lit(None, pl.Float64).alias(column)), None)
    counted = rows.select(
        _SCORED,
        "prompt_token_ids",
        "completion_token_ids",
        prompt_token_count=pl.col("prompt_token_ids").list.len().cast(pl.Int64),
        completion_token_count="token_count",
    ).sort(_SCORED)
    scored = score_frame(counted, scorer, how.shard_rows, reporter, f"log-probs of answers under {name}")
    logps = scored.frame.select(_SCORED, pl.col("logps").alias(column))
    joined_rows = named.join(logps, on=_SCORED, how="left", validate="m:1")
    # What is not asked for may have the ids of what is: the model that made them reads them otherwise.
    column_of = pl.when(which).then(column).alias(column)
    return _Scored(joined_rows.with_columns(column_of).drop(_SCORED), str(scored.notes["store_key"]))


def _told(label: str, notes: dict[str, Any], longest: int) -> list[str]:
    """What is out of the ordinary with a model's answers."""
    said, count = [], notes["answers"]
    if not notes["end_tokens"]:
        said.append(f"{label}: nothing says which token ends an answer, so every answer is cut after {longest} tokens.")
    elif notes["cut"] == count:
        said.append(
            f"{label}: none of its {count:,} answers ends by itself: all are cut after {longest} tokens "
            f"(generations.max_new_tokens)."
        )
    if notes["control_tokens"]:
        said.append(
            f"{label}: {notes['control_tokens']:,} of {count:,} answers hold control tokens, which texts leave out."
        )
    return said
