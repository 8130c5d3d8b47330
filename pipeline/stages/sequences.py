"""Rows to sequences: every (prompt, completion) that a later stage scores, as token ids, each once.

Unpaired rows and both sides of pairs stand on responses, so a sequence is made per response. KTO's mismatched
rows (a prompt with the completion of another prompt, for the reference point z0) are made after the split and
inside it, from a seed: never with the row's own prompt, never equal to the row's own completion.
"""

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from pipeline.artifacts import Counts
from pipeline.context import StageContext, StageResult
from pipeline.engines.encoding import Encoder, load_encoder, sequence_columns
from pipeline.engines.models import resolve_model
from pipeline.errors import InputError
from pipeline.tables import SEQUENCE_ROLE, SPLIT, polars_schema

VERSION = 2
INPUTS = ("unpaired", "pairs", "splits")
OUTPUTS = ("sequences", "row_sequences", "sequence_drops")

_BAR_ROWS = 1024


class Sequences(NamedTuple):
    """The three tables that this stage makes, and what was noticed on the way."""

    sequences: pl.DataFrame
    row_sequences: pl.DataFrame
    sequence_drops: pl.DataFrame
    notes: dict[str, int]


def rows_to_encode(
    unpaired: pl.DataFrame, pairs: pl.DataFrame, splits: pl.DataFrame, *, train_on: Literal["pairs", "unpaired", "both"]
) -> pl.DataFrame:
    """One row a response that a pair or an unpaired row stands on: ids, prompt, completion text, split.

    Args:
        unpaired: Table `unpaired`.
        pairs: Table `pairs`.
        splits: Table `splits`.
        train_on: Kind of row that training reads; held-out rows of both kinds are always there.

    Returns:
        Rows sorted by response id; every role is `matched`.
    """
    answer = pl.col("completion").list.first().struct.field("content")
    shared = ["prompt_id", "prompt"]
    of_unpaired = unpaired.select("response_id", *shared, "completion", kind=pl.lit("unpaired"))
    of_pairs = [
        pairs.select(*shared, response_id=f"{side}_response_id", completion=side, kind=pl.lit("pairs")).select(
            of_unpaired.columns
        )
        for side in ("chosen", "rejected")
    ]
    rows = pl.concat([of_unpaired, *of_pairs]).join(
        splits.select("prompt_id", "split"), on="prompt_id", how="left", validate="m:1"
    )
    if train_on != "both":
        rows = rows.filter((pl.col("split") != "train") | (pl.col("kind") == train_on))
    return (
        rows.unique("response_id", keep="first", maintain_order=True)
        .drop("kind")
        .with_columns(completion=answer, role=pl.lit("matched").cast(SEQUENCE_ROLE))
        .sort("response_id")
    )


def mismatched_rows(rows: pl.DataFrame, unpaired: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Each unpaired row's prompt with the completion of another prompt of the same split.

    Args:
        rows: What `rows_to_encode` returns.
        unpaired: Table `unpaired`: only these rows need a partner.
        seed: Draws the partners.

    Returns:
        Rows like `rows`, with role `mismatched`. A row without any possible partner (all others share its prompt
        or its text) has none.
    """
    own = rows.join(unpaired.select("response_id"), on="response_id", how="semi")
    parts = [
        _shuffled_partners(own.filter(pl.col("split") == split), np.random.default_rng([seed, place]))
        for place, split in enumerate(SPLIT.categories)
        if split != "test"
    ]
    return pl.concat(parts).with_columns(role=pl.lit("mismatched").cast(SEQUENCE_ROLE)).sort("response_id")


def _shuffled_partners(rows: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    rows = rows[generator.permutation(rows.height)]
    prompts = rows["prompt_id"].rank("dense").to_numpy()
    texts = rows["completion"].rank("dense").to_numpy()
    partner = np.full(rows.height, -1)
    for shift in range(1, rows.height):
        open_rows = np.flatnonzero(partner < 0)
        if open_rows.size == 0:
            break
        candidate = (open_rows + shift) % rows.height
        fits = (prompts[candidate] != prompts[open_rows]) & (texts[candidate] != texts[open_rows])
        partner[open_rows[fits]] = candidate[fits]
    found = np.flatnonzero(partner >= 0)
    return rows[found].with_columns(completion=rows["completion"].gather(partner[found]))


def transform(table: pl.DataFrame) -> Sequences:
    """Tables from encoded rows.

    Args:
        table: Columns response_id, role and split of each row, with those of `sequence_columns`.
    """
    lengths = pl.col("prompt_token_count") + pl.col("completion_token_count")
    dropped = table.filter(pl.col("reason").is_not_null() & (pl.col("role") == "matched")).select(
        "response_id", "reason", detail=pl.concat_str(lengths, pl.lit(" tokens"))
    )
    kept = table.filter(pl.col("reason").is_null())
    sequences = kept.unique("sequence_id", keep="first", maintain_order=True)
    return Sequences(
        sequences.select(list(polars_schema("sequences"))).sort("sequence_id"),
        kept.select(list(polars_schema("row_sequences"))).sort("response_id", "role"),
        dropped.select(list(polars_schema("sequence_drops"))).sort("response_id"),
        _notes(table),
    )


def _notes(table: pl.DataFrame) -> dict[str, int]:
    counts = dict(table["boundary"].value_counts().iter_rows())
    cut = table.filter(pl.col("reason").is_null() & (pl.col("cut") > 0))["cut"]
    return {
        "boundary_prefix": counts.get("prefix", 0),
        "boundary_text_apart": counts.get("text_apart", 0),
        "boundary_completion_apart": counts.get("completion_apart", 0),
        "truncated_rows": cut.len(),
        "truncated_tokens": int(cut.sum()),
    }


def _train_on(context: StageContext) -> Literal["pairs", "unpaired", "both"]:
    # Imported here: the registry loads torch, and a run that skips this stage should not wait for it.
    from losses.registry import loss_spec

    if context.config.sequences.scope == "all":
        return "both"
    return "pairs" if loss_spec(context.config.train.method).paired else "unpaired"


def _encode(encoder: Encoder, rows: pl.DataFrame, context: StageContext) -> pl.DataFrame:
    """The rows with their token ids: a block at a time, since lists of Python numbers are ten times as large."""
    blocks = []
    with context.reporter.progress("tokenising", rows.height, "rows") as advance:
        for block in rows.iter_slices(_BAR_ROWS) if rows.height else [rows]:
            encoded = list(encoder.encode(block["prompt"].to_list(), block["completion"].to_list()))
            blocks.append(sequence_columns(block.select("response_id", "role", "split"), encoded))
            advance(block.height)
    return pl.concat(blocks)


def _say_apart(notes: dict[str, int], rows: int, context: StageContext) -> None:
    apart = notes["boundary_text_apart"] + notes["boundary_completion_apart"]
    if apart:
        context.reporter.say(
            f"sequences: in {apart:,} of {rows:,} rows the prompt's tokens are no beginning of those of prompt and "
            f"answer (the template rewrites turns, or tokens merge across); both were tokenised apart."
        )


def run(context: StageContext) -> StageResult:
    """Read rows and splits, write `sequences`, `row_sequences` and `sequence_drops`."""
    config = context.config.sequences
    unpaired = context.read("unpaired")
    rows = rows_to_encode(unpaired, context.read("pairs"), context.read("splits"), train_on=_train_on(context))
    matched = rows.height
    if context.config.needs_mismatched:
        rows = pl.concat([rows, mismatched_rows(rows, unpaired, config.seed)])
    model_dir = resolve_model(context.config.model, context.config.revision)
    encoder = load_encoder(model_dir, config.template, config.max_tokens, config.truncation, config.template_options)
    made = transform(_encode(encoder, rows, context))
    _say_apart(made.notes, rows.height, context)
    if made.sequences.is_empty():
        raise InputError(
            f"sequences: all {matched} rows were dropped ({_reasons(made.sequence_drops)}). too_long: raise "
            f"sequences.max_tokens (now {config.max_tokens}) or set sequences.truncation; template_refuses: set "
            f"sequences.template to plain."
        )
    return StageResult(
        outputs={
            "sequences": context.write("sequences", made.sequences),
            "row_sequences": context.write("row_sequences", made.row_sequences),
            "sequence_drops": context.write("sequence_drops", made.sequence_drops),
        },
        counts=Counts(
            rows_in=rows.height,
            rows_out=made.sequences.height,
            merged=made.row_sequences.height - made.sequences.height,
            rejected=rows.height - made.row_sequences.height,
        ),
        notes=made.notes
        | {
            "mismatched_rows": rows.height - matched,
            "prompt_tokens": int(made.sequences["prompt_token_count"].sum()),
            "completion_tokens": int(made.sequences["completion_token_count"].sum()),
        },
    )


def _reasons(drops: pl.DataFrame) -> str:
    counts = Counter(drops["reason"].to_list())
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
