"""The stages one at a time, on somebody's own files: prepare, reference and train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from pipeline.artifacts import write_parquet
from pipeline.config import EngineConfig, EventsConfig, RunConfig, SequencesConfig, build_config, override
from pipeline.context import Reporter
from pipeline.errors import InputError
from pipeline.identity import as_answer

LAST_STAGE_OF: Final = {"prepare": "splits", "train": "train"}


class ScoredRows(NamedTuple):
    """What `thumbline reference` did.

    Attributes:
        kind: `pairs` or `unpaired`.
        rows: Rows written.
        rejected: Rows that could not be read, and rows without token ids, by reason.
        scored: Sequences scored now.
        stored: Sequences that the store already had.
    """

    kind: str
    rows: int
    rejected: dict[str, int]
    scored: int
    stored: int


def run_config(
    inputs: Sequence[str], output: Path, model: str, settings: Sequence[str], **sections: dict[str, Any]
) -> RunConfig:
    """A run in the folder `output`, made from a command's arguments.

    Args:
        inputs: Logs or data sets.
        output: Folder of the run.
        model: Model name, or `demo`.
        settings: `key=value` overrides, which win.
        sections: Settings that the command sets, by stage.

    Raises:
        ConfigError: A setting does not hold.
    """
    place = output.absolute()
    document: dict[str, Any] = {"name": place.name, "runs": str(place.parent), "model": model, **sections}
    document["events"] = {"inputs": list(inputs), **sections.get("events", {})}
    for setting in settings:
        override(document, setting)
    return build_config(document, origin="command line")


def score_rows(
    rows_file: str,
    output: Path,
    model: str,
    engine: EngineConfig,
    text: SequencesConfig,
    store: Path,
    reporter: Reporter,
) -> ScoredRows:
    """Add reference log-probs to a data set in one of TRL's layouts and write it to the Parquet file `output`.

    Pairs get `ref_chosen_logps` and `ref_rejected_logps`, the columns that TRL's DPO trainer takes; unpaired rows
    get `reference_logps`. Prompts and completions are written as message lists.

    Args:
        rows_file: Parquet or JSON lines.
        output: Parquet file to write.
        model: The reference model.
        engine: Which engine, and its settings.
        text: Template, length and truncation.
        store: Folder of stored log-probs.
        reporter: Where progress goes.

    Raises:
        InputError: No row can be used.
    """
    from pipeline.engines.models import resolve_model
    from pipeline.engines.scoring import score_table

    read = _read_rows(rows_file)
    model_dir = resolve_model(model)
    named, drops = _sequences(read.sides, model_dir, text)
    if named.is_empty():
        raise InputError(f"{rows_file}: no row has token ids to score ({_in_words(drops)}).")
    sequences = named.drop("source_file", "source_line", "side").unique(
        "sequence_id", keep="first", maintain_order=True
    )
    scored = score_table(sequences, model_dir, engine, store, 512, reporter, "reference log-probs")
    logps = named.select("source_file", "source_line", "side", "sequence_id").join(
        scored.frame, on="sequence_id", how="left", validate="m:1"
    )
    frame = _with_logps(read, logps)
    write_parquet(output, frame)
    rejected = {**read.rejected, **drops}
    return ScoredRows(read.kind, frame.height, rejected, scored.notes["scored"], scored.notes["stored"])


class _Rows(NamedTuple):
    """A user's rows: `sides` has one line a completion, with the side that it is of."""

    kind: str
    sides: pl.DataFrame
    rejected: dict[str, int]


def _read_rows(rows_file: str) -> _Rows:
    from pipeline.importers.ingest import read_inputs

    batches = list(read_inputs(EventsConfig(inputs=(rows_file,), format="trl")))
    rejects = pl.concat([batch.rejects for batch in batches])
    rejected = dict(rejects["reason"].value_counts().sort("reason").iter_rows())
    events = pl.concat([batch.events for batch in batches])
    kinds = events.select(pl.col("comparison_id").is_not_null().unique()).to_series().to_list()
    if len(kinds) != 1:
        what = "no usable row" if not kinds else "pairs and unpaired rows mixed"
        raise InputError(f"{rows_file}: {what} ({_in_words(rejected) or 'the file is empty'}).")
    columns = ["source_file", "source_line", "prompt", "completion", pl.col("vote").cast(pl.String).alias("side")]
    return _Rows("pairs" if kinds[0] else "unpaired", events.select(columns), rejected)


def _sequences(sides: pl.DataFrame, model_dir: Path, text: SequencesConfig) -> tuple[pl.DataFrame, dict[str, int]]:
    """Columns of table `sequences` for each completion, and how many were dropped, by reason."""
    from pipeline.engines.encoding import load_encoder, sequence_columns

    encoder = load_encoder(model_dir, text.template, text.max_tokens, text.truncation)
    encoded = list(encoder.encode(sides["prompt"].to_list(), sides["completion"].to_list()))
    table = sequence_columns(sides.select("source_file", "source_line", "side"), encoded)
    dropped = table.filter(pl.col("reason").is_not_null())
    drops = dict(dropped["reason"].value_counts().sort("reason").iter_rows())
    return table.filter(pl.col("reason").is_null()).drop("reason"), drops


def _with_logps(read: _Rows, logps: pl.DataFrame) -> pl.DataFrame:
    """The user's rows, each with the log-probs of its completions; a row with a dropped side is left out."""
    key = ["source_file", "source_line"]
    scored = read.sides.join(logps, on=[*key, "side"], how="inner", validate="1:1").with_columns(
        completion=as_answer(pl.col("completion"))
    )
    if read.kind == "unpaired":
        return scored.select(
            *key,
            "prompt",
            "completion",
            label=pl.col("side") == "up",
            reference_logps="logps",
            token_count="token_count",
        )
    parts = {
        side: scored.filter(pl.col("side") == side).select(
            *key,
            *(["prompt"] if side == "chosen" else []),
            pl.col("completion").alias(side),
            pl.col("logps").alias(f"ref_{side}_logps"),
            pl.col("token_count").alias(f"{side}_token_count"),
        )
        for side in ("chosen", "rejected")
    }
    return parts["chosen"].join(parts["rejected"], on=key, how="inner", validate="1:1").sort(key)


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
