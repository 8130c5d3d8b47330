"""A user's own rows with reference log-probs: scored now, or joined from the store."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import polars as pl

from ..config import EngineConfig, EventsConfig, SequencesConfig
from ..context import Reporter
from ..errors import InputError
from ..identity import as_answer
from ..storage.files import free_place, user_table_format
from ..storage.message_keys import with_message_keys
from ..storage.parquet import read_parquet, write_parquet

_ROW: Final = ["source_file", "source_line"]
_SHARD_ROWS: Final = 512
NOT_STORED: Final = "not_stored"


class ScoredRows(NamedTuple):
    """What was done with a user's rows.

    Attributes:
        kind: `pairs` or `unpaired`.
        rows: Rows written.
        rejected: Rows that could not be read, or lack token ids or a stored log-prob, by reason.
        scored: Sequences scored now.
        stored: Sequences that the store already had.
        said: Sentences on what was changed or left out.
    """

    kind: str
    rows: int
    rejected: dict[str, int]
    scored: int
    stored: int
    said: tuple[str, ...] = ()


class Request(NamedTuple):
    """A user's rows, and how they are scored.

    Attributes:
        rows_file: Pairs, or answers with labels, in any format that holds both in one row.
        model: The reference model.
        engine: Which engine, and its settings.
        text: Template, length and truncation.
        store: Folder or address of stored log-probs.
        events: Format and options of the rows; None to detect them.
    """

    rows_file: str
    model: str
    engine: EngineConfig
    text: SequencesConfig
    store: str
    events: EventsConfig | None = None


class _Named(NamedTuple):
    """A user's rows as sequences.

    Attributes:
        read: The rows.
        sequences: Columns of table `sequences` of each side of a row whose sides all have token ids.
        dropped: Rows that a side of has none, by reason.
        said: Sentences on what was changed or left out.
        model_dir: Folder of the model.
    """

    read: "_Rows"
    sequences: pl.DataFrame
    dropped: dict[str, int]
    said: tuple[str, ...]
    model_dir: Path


class _Rows(NamedTuple):
    """A user's rows: `sides` has one line a completion, with the side that it is of; `said` is what to say of them."""

    kind: str
    sides: pl.DataFrame
    rejected: dict[str, int]
    said: tuple[str, ...]


def score_rows(request: Request, output: Path, reporter: Reporter) -> ScoredRows:
    """Add reference log-probs to a data set in one of TRL's layouts and write it to the Parquet file `output`.

    Pairs get `ref_chosen_logps` and `ref_rejected_logps`, the columns that TRL's DPO trainer takes; unpaired rows
    get `reference_logps`. Prompts and completions are written as message lists.

    Args:
        request: The rows, and how they are scored.
        output: Parquet file to write.
        reporter: Where progress goes.

    Raises:
        InputError: No row can be used.
    """
    from ..engines.scoring import Scorer, score_frame

    read, named, drops, said, model_dir = _named(request)
    scorer = Scorer(model_dir, request.engine, request.store)
    scored = score_frame(named, scorer, _SHARD_ROWS, reporter, "reference log-probs")
    frame = _with_logps(read, _named_logps(named, scored.frame))
    write_parquet(free_place(output), with_message_keys(frame))
    rejected = {**read.rejected, **drops}
    return ScoredRows(read.kind, frame.height, rejected, scored.notes["scored"], scored.notes["stored"], said)


def export_rows(request: Request, output: Path) -> ScoredRows:
    """Join stored log-probs to a user's own rows, every column of theirs kept, without scoring anything.

    Args:
        request: The rows, one file, and what the stored log-probs were made with.
        output: Parquet file to write.

    Raises:
        InputError: No row has all its log-probs in the store.
    """
    from ..engines.feeding import blocks_of, catalogue
    from ..engines.missing import stored_results
    from ..engines.scoring import Scorer, scratch_folder

    read, named, drops, said, model_dir = _named(request)
    scorer = Scorer(model_dir, request.engine, request.store)
    blocks = blocks_of(named)
    with TemporaryDirectory() as folder, scratch_folder(Path(folder)) as scratch:
        _, results = stored_results(blocks, catalogue(blocks), scorer.stores(), scratch)
    logps = _named_logps(named, results.frame().filter(pl.col("logps").is_not_nan()))
    missing = logps.filter(pl.col("logps").is_null()).select(_ROW).n_unique()
    added = _with_logps(read, logps.drop_nulls("logps")).drop(["prompt", "tools", "completion", "label"], strict=False)
    if added.is_empty():
        raise InputError(
            f"reference export: {request.store} holds no log-prob of these rows for this model, engine, template and "
            f"length. Score them with `thumbline reference ROWS`."
        )
    columns = [name for name in added.columns if name.endswith(("_logps", "token_count"))]
    own = _own_rows(Path(request.rows_file)).drop(columns, strict=False)
    frame = own.join(added.select("source_line", *columns), on="source_line", how="inner", validate="1:1")
    write_parquet(free_place(output), frame.drop("source_line"))
    rejected = read.rejected | drops | ({NOT_STORED: missing} if missing else {})
    return ScoredRows(read.kind, frame.height, rejected, 0, results.known, said)


def named_sequences(request: Request) -> tuple[pl.DataFrame, Path]:
    """Columns of table `sequences` of a user's rows, and the folder of the model."""
    named = _named(request)
    return named.sequences, named.model_dir


def _named(request: Request) -> _Named:
    from ..engines.models import resolve_model

    read = _read_rows(request)
    named = _sequences(read, resolve_model(request.model), request.text)
    if named.sequences.is_empty():
        raise InputError(f"{request.rows_file}: no row has token ids to score. {' '.join(named.said)}")
    return named


def _named_logps(named: pl.DataFrame, logps: pl.DataFrame) -> pl.DataFrame:
    rows = named.select(*_ROW, "side", "sequence_id")
    return rows.join(logps, on="sequence_id", how="left", validate="m:1")


def _read_rows(request: Request) -> _Rows:
    from .reading import user_rows

    found = user_rows(request.events or EventsConfig(inputs=(request.rows_file,)))
    if len(found.kinds) != 1:
        what = "pairs and unpaired rows mixed" if found.kinds else "no usable row"
        raise InputError(f"{request.rows_file}: {what} ({_in_words(found.rejected) or 'the file is empty'}).")
    columns = [*_ROW, "prompt", "tools", "completion", "completion_extra", pl.col("vote").cast(pl.String).alias("side")]
    return _Rows(found.kinds[0], found.events.select(columns), found.rejected, found.said)


def _sequences(read: _Rows, model_dir: Path, text: SequencesConfig) -> _Named:
    """Columns of table `sequences` for each completion; a row is dropped with the first of its sides that is."""
    from ..engines.encoded import ENTRY_COLUMNS, sequence_columns
    from ..engines.encoding import encoder_for
    from ..engines.noticed import count_noticed, told
    from ..engines.refusals import Refusals

    sides = read.sides.with_columns(row=pl.concat_str(*_ROW, separator=" ")).sort(*_ROW, maintain_order=True)
    encoded = list(encoder_for(model_dir, text).encode_rows(sides, group="row"))
    table = sequence_columns(sides.select(*_ROW, "side"), encoded)
    dropped = table.filter(pl.col("reason").is_not_null()).unique(_ROW, keep="first", maintain_order=True)
    refusals = Refusals()
    refusals.add(dropped)
    counts, what = count_noticed(table), "rows" if read.kind == "unpaired" else "answers"
    said = [*read.said, *told(counts, table.height, what), *refusals.told("rows", text.max_tokens, "option")]
    kept = table.join(dropped.select(_ROW), on=_ROW, how="anti", maintain_order="left").drop(ENTRY_COLUMNS)
    return _Named(read, kept, dict(sorted(refusals.reasons.items())), tuple(said), model_dir)


def _with_logps(read: _Rows, logps: pl.DataFrame) -> pl.DataFrame:
    """The user's rows, each with the log-probs of its completions; a row with a dropped side is left out."""
    scored = read.sides.join(logps, on=[*_ROW, "side"], how="inner", validate="1:1").with_columns(
        completion=as_answer(pl.col("completion"), pl.col("completion_extra"))
    )
    tokens = ["token_logps"] if "token_logps" in scored.columns else []
    if read.kind == "unpaired":
        return scored.select(
            *_ROW,
            "prompt",
            "tools",
            "completion",
            label=pl.col("side") == "up",
            reference_logps="logps",
            token_count="token_count",
            **{f"reference_{name}": name for name in tokens},
        )
    parts = {
        side: scored.filter(pl.col("side") == side).select(
            *_ROW,
            *(["prompt", "tools"] if side == "chosen" else []),
            pl.col("completion").alias(side),
            pl.col("logps").alias(f"ref_{side}_logps"),
            pl.col("token_count").alias(f"{side}_token_count"),
            *(pl.col(name).alias(f"ref_{side}_{name}") for name in tokens),
        )
        for side in ("chosen", "rejected")
    }
    return parts["chosen"].join(parts["rejected"], on=_ROW, how="inner", validate="1:1").sort(_ROW)


def _own_rows(path: Path) -> pl.DataFrame:
    """A user's rows as they are, with `source_line`, the number that a reader gives each."""
    if not path.is_file():
        raise InputError(f"{path}: `reference export` joins to one file; give a .parquet or .jsonl file.")
    if user_table_format(path) == "parquet":
        return read_parquet(path).with_row_index("source_line", offset=1).cast({"source_line": pl.Int64})
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row | {"source_line": number})
    try:
        return pl.from_dicts(rows, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: a field has another type in some rows. Write the rows as Parquet first.") from error


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
