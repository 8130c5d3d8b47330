"""Rows to sequences: every (prompt, completion) that a later stage scores, as token ids, each once.

Unpaired rows and both sides of pairs stand on responses, so a sequence is made per response. Mismatched rows
(`pipeline/training/mismatched.py`) are sequences too. Rows are read and encoded a set of prompts at a time, and the
tables sorted by way of files where they are large; how it was cut does not show in them.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import polars as pl

from ..config import RunConfig, SequencesConfig
from ..context import BatchSizes, StageContext, StageResult
from ..engines.boundary import whole_groups
from ..engines.encoded import sequence_columns
from ..engines.encoding import Encoder, encoder_for
from ..engines.models import resolve_model
from ..engines.noticed import count_noticed, told
from ..engines.refusals import Refusals
from ..engines.scoring import scratch_folder
from ..errors import InputError
from ..storage.bucket_sort import BucketSort
from ..storage.buckets import buckets_of_ids
from ..storage.manifests import Counts
from ..storage.tables import side_by_side
from ..tables import SEQUENCE_ROLE, polars_schema
from ..training.methods import makes_mismatched, row_kinds
from ..training.mismatched import Exchange, partner_rows, partners
from ..training.reward.kinds import thumbs_kinds

VERSION = 4
INPUTS = ("unpaired", "pairs", "splits")
OUTPUTS = ("sequences", "row_sequences", "sequence_drops")

_BLOCK_ROWS: Final = 1024
# How many of a prompt's last tokens are thoughts of the answer; only where thoughts are masked.
THOUGHT: Final = "thought_token_count"
_READ: Final = {
    "unpaired": ("response_id", "prompt_id", "prompt", "tools", "completion"),
    "pairs": ("prompt_id", "prompt", "tools", "chosen", "rejected", "chosen_response_id", "rejected_response_id"),
    "splits": ("prompt_id", "split"),
}
_COUNTED: Final = {"prompt_tokens": "prompt_token_count", "completion_tokens": "completion_token_count"}
_TrainingRows: TypeAlias = Literal["pairs", "unpaired", "both"]


def settings(config: RunConfig) -> dict[str, Any]:
    """The stage's own settings, and what the method says: the training rows it reads, and whether mismatched ones."""
    thoughts = {"think", "think_marks"}
    # What is as it was before there were these settings changes no fingerprint.
    kept = {name for name in thoughts if getattr(config.sequences, name) == getattr(SequencesConfig(), name)}
    return {
        **config.sequences.model_dump(mode="json", exclude={"scope", "mismatched", *kept}),
        "training_rows": training_rows(config),
        "mismatched": makes_mismatched(config),
    }


def training_rows(config: RunConfig) -> _TrainingRows:
    """Kind of training rows that get sequences: those of the method and of the thumbs model, or both."""
    asked = {*row_kinds(config), *thumbs_kinds(config)}
    return "both" if config.sequences.scope == "all" or len(asked) > 1 else asked.pop()


class Sequences(NamedTuple):
    """The three tables that this stage makes, and what was noticed on the way.

    Attributes:
        sequences: Token ids, each once.
        row_sequences: Which sequence each row stands on.
        sequence_drops: Rows without one, and why.
        notes: Rows and tokens that were cut.
        noticed: Rows of each name of `engines.noticed.NOTICED`; mismatched rows are not counted.
    """

    sequences: pl.DataFrame
    row_sequences: pl.DataFrame
    sequence_drops: pl.DataFrame
    notes: dict[str, int]
    noticed: dict[str, int]


def rows_to_encode(
    unpaired: pl.DataFrame, pairs: pl.DataFrame, splits: pl.DataFrame, *, train_on: _TrainingRows
) -> pl.DataFrame:
    """One row a response that a pair or an unpaired row stands on: ids, prompt, completion text, split.

    Args:
        unpaired: Table `unpaired`.
        pairs: Table `pairs`.
        splits: Table `splits`.
        train_on: Kind of row that training reads; held-out rows of both kinds are always there.

    Returns:
        Rows sorted by response id, their answers as columns `ANSWER`; every role is `matched`.
    """
    answer = pl.col("completion").list.first().struct
    shared = ["prompt_id", "prompt", "tools"]
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
        .with_columns(
            completion=answer.field("content"),
            completion_extra=answer.field("extra"),
            role=pl.lit("matched").cast(SEQUENCE_ROLE),
        )
        .sort("response_id")
    )


def transform(table: pl.DataFrame) -> Sequences:
    """Tables from encoded rows.

    Args:
        table: Columns response_id, role and split of each row, with those of `sequence_columns`; and
            `thought_token_count` where thoughts are masked.
    """
    lengths = pl.col("prompt_token_count") + pl.col("completion_token_count")
    dropped = table.filter(pl.col("reason").is_not_null() & (pl.col("role") == "matched")).select(
        "response_id", "reason", detail=pl.coalesce("detail", pl.concat_str(lengths, pl.lit(" tokens")))
    )
    kept = table.filter(pl.col("reason").is_null())
    sequences = kept.unique("sequence_id", keep="first", maintain_order=True)
    return Sequences(
        sequences.select([name for name in polars_schema("sequences", optional=True) if name in table.columns]).sort(
            "sequence_id"
        ),
        kept.select(list(polars_schema("row_sequences"))).sort("response_id", "role"),
        dropped.select(list(polars_schema("sequence_drops"))).sort("response_id"),
        _notes(table),
        count_noticed(table.filter(pl.col("role") == "matched")),
    )


def _notes(table: pl.DataFrame) -> dict[str, int]:
    cut = table.filter(pl.col("reason").is_null() & (pl.col("cut") > 0))["cut"]
    return {
        "truncated_rows": cut.len(),
        "truncated_tokens": int(cut.sum()),
    }


class _Part(NamedTuple):
    """Rows of one set of prompts.

    Attributes:
        prompts: How many prompts those are.
        rows: What `rows_to_encode` gives.
        own: Those of them that are unpaired rows.
    """

    prompts: int
    rows: pl.DataFrame
    own: pl.DataFrame


def _parts(context: StageContext) -> Iterator[_Part]:
    """All rows in bounded sets of prompts; all at once where a pair may have an answer to another prompt."""
    train_on = training_rows(context.config)
    tables = (context.read_by_prompt(table, columns) for table, columns in _READ.items())
    parts = side_by_side(list(tables))
    if context.config.pairs.group_prompts != "none":
        parts = iter([tuple(map(pl.concat, zip(*parts, strict=True)))])
    for unpaired, pairs, splits in parts:
        rows = rows_to_encode(unpaired, pairs, splits, train_on=train_on)
        own = rows.join(unpaired.select("response_id"), on="response_id", how="semi", maintain_order="left")
        yield _Part(splits.height, rows, own)


def _to_encode(context: StageContext, scratch: Path) -> Iterator[_Part]:
    """The parts, with mismatched rows among their rows where the run needs them."""
    if not makes_mismatched(context.config):
        yield from _parts(context)
        return
    partner = partners([partner_rows(part.own) for part in _parts(context)], context.config.sequences.seed)
    sizes = context.sizes
    path = scratch / "partners"
    with Exchange(partner, path, bucket_rows=sizes.partner_rows, held_bytes=sizes.sorted_bytes) as exchange:
        for part in _parts(context):
            exchange.give(part.own)
        for part in _parts(context):
            mismatched = exchange.take(part.own).with_columns(role=pl.lit("mismatched").cast(SEQUENCE_ROLE))
            yield part._replace(rows=pl.concat([part.rows, mismatched]))


class _Made:
    """The stage's tables while they grow, and what was counted on the way."""

    def __init__(self, scratch: Path, files: ExitStack, sizes: BatchSizes) -> None:
        self.rows: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self.refusals = Refusals()
        self.training_rows = self.training_kept = 0
        keys = {
            "sequences": ["sequence_id"],
            "row_sequences": ["response_id", "role"],
            "sequence_drops": ["response_id"],
        }
        # Rows of the narrow tables are a hundred bytes each.
        self._tables = {
            table: files.enter_context(
                BucketSort(
                    scratch / table,
                    key,
                    partial(buckets_of_ids, count=256 if table == "sequences" else 16),
                    held_bytes=sizes.sorted_bytes,
                )
            )
            for table, key in keys.items()
        }

    def add(self, table: pl.DataFrame) -> None:
        """Take encoded rows."""
        made = transform(table)
        for name, rows in self._tables.items():
            rows.add(getattr(made, name))
        self.rows.update(table["role"].to_list())
        training = table.filter((pl.col("role") == "matched") & (pl.col("split") == "train"))
        self.training_rows += training.height
        self.training_kept += training["reason"].null_count()
        self.refusals.add(made.sequence_drops)
        self.notes.update(made.notes)
        self.noticed.update(made.noticed)

    def parts(self) -> Iterator[dict[str, pl.DataFrame]]:
        """All tables, part by part; their tokens are counted as they pass."""
        for name, rows in self._tables.items():
            for batch in rows.batches():
                if name == "sequences":
                    self.notes.update({note: int(batch[column].sum()) for note, column in _COUNTED.items()})
                yield {name: batch}


def _encode(encoder: Encoder, context: StageContext, made: _Made, scratch: Path) -> None:
    """All rows with their token ids: a block at a time, since lists of Python numbers are ten times as large."""
    with context.reporter.progress("tokenising", context.rows("splits"), "prompts") as advance:
        for part in _to_encode(context, scratch):
            rows = _by_prompt(part.rows)
            blocks = list(whole_groups(rows["group"].to_list()))
            prompts_each = part.prompts // max(len(blocks), 1)
            for block in blocks:
                _encode_block(encoder, rows[block], made, masks=context.config.sequences.think == "mask")
                advance(prompts_each)
            advance(part.prompts - prompts_each * len(blocks))


def _by_prompt(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of `group`: answers to one prompt continue the same tokens, a mismatched row is on its own."""
    own = pl.concat_str(pl.lit("mismatched "), "response_id")
    group = pl.when(pl.col("role") == "matched").then("prompt_id").otherwise(own)
    return rows.with_columns(group=group).sort("group", "response_id")


def _encode_block(encoder: Encoder, rows: pl.DataFrame, made: _Made, *, masks: bool) -> None:
    encoded = encoder.encode_rows(rows, "group")
    for part in rows.select("response_id", "role", "split").iter_slices(_BLOCK_ROWS):
        entries = list(islice(encoded, part.height))
        table = sequence_columns(part, entries)
        if masks:
            counts = pl.Series(THOUGHT, [entry.thought for entry in entries], dtype=pl.Int64)
            table = table.with_columns(counts)
        made.add(table)


def _said(made: _Made, max_tokens: int) -> list[str]:
    """Sentences on what was changed or left out."""
    return [*told(made.noticed, made.rows["matched"]), *made.refusals.told("rows", max_tokens, "setting")]


def run(context: StageContext) -> StageResult:
    """Read rows and splits a set of prompts at a time, write `sequences`, `row_sequences` and `sequence_drops`."""
    config = context.config.sequences
    encoder = encoder_for(resolve_model(context.config.model, context.config.revision), config)
    with scratch_folder(context.folder) as scratch, ExitStack() as files:
        made = _Made(scratch, files, context.sizes)
        _encode(encoder, context, made, scratch)
        outputs = context.write_parts(made.parts(), OUTPUTS)
    sequences, kept, rows = outputs["sequences"].rows, outputs["row_sequences"].rows, made.rows.total()
    if not sequences or (made.training_rows and not made.training_kept):
        which = "training rows" if sequences else "rows"
        lost = made.training_rows if sequences else made.rows["matched"]
        reasons, advice = made.refusals.in_words(), made.refusals.advice(config.max_tokens, "setting")
        raise InputError(f"sequences: all {lost:,} {which} were dropped ({reasons}).{advice}")
    said = _said(made, config.max_tokens)
    return StageResult(
        outputs=outputs,
        counts=Counts(rows_in=rows, rows_out=sequences, merged=kept - sequences, rejected=rows - kept),
        notes={**made.notes, "mismatched_rows": made.rows["mismatched"], "noticed": dict(made.noticed), "said": said},
    )
