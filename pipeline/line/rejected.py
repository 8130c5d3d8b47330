"""Rows of a run that its stages set aside, by reason: how many, and the first of them as they were logged."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from ..errors import ConfigError, InputError, unknown_name
from ..ingest.reasons import way_out
from ..storage.attached import bring, shown_place
from ..storage.manifests import Manifest
from ..storage.tables import iter_table, read_table
from .outdated import consistent
from .telling import no_label

# A cell of a row that is shown; the table `rejects` itself keeps 2,000 characters of a row.
_SHOWN_CHARACTERS: Final = 2_000


class _Kept(NamedTuple):
    """Where a stage keeps what it set aside.

    Attributes:
        stage: The stage.
        table: A table of its own, or of another stage.
        unit: What a row of it is.
        reason: The column with the reason; rows without one were not set aside.
        shown: Columns that say which row it is, and what was in it.
        texts: Columns of response ids, whose answers are shown.
    """

    stage: str
    table: str
    unit: str
    reason: str
    shown: tuple[str, ...]
    texts: tuple[str, ...] = ()


_KEPT: Final = (
    _Kept("events", "rejects", "row", "reason", ("source_file", "source_line", "detail", "raw")),
    _Kept("responses", "response_drops", "answer", "reason", ("response_id", "detail"), ("response_id",)),
    _Kept(
        "responses",
        "comparison_drops",
        "comparison",
        "reason",
        ("comparison_id", "kind", "response_id", "other_response_id"),
        ("response_id", "other_response_id"),
    ),
    _Kept("unpaired", "responses", "answer", "abstain_reason", ("response_id", "n_up", "n_down"), ("response_id",)),
    _Kept(
        "pairs",
        "pair_drops",
        "two answers",
        "reason",
        ("pair_source", "similarity", "chosen_response_id", "rejected_response_id"),
        ("chosen_response_id", "rejected_response_id"),
    ),
    _Kept("sequences", "sequence_drops", "answer", "reason", ("response_id", "detail"), ("response_id",)),
    _Kept("judgements", "judgements", "judgement", "reason", ("judge", "generation_id")),
    _Kept("judgements", "judged_pairs", "judgement", "reason", ("judge", "generation_id", "baseline_generation_id")),
)
STAGES: Final = tuple(dict.fromkeys(kept.stage for kept in _KEPT))


class Rejected(NamedTuple):
    """What a stage set aside for one reason.

    Attributes:
        stage: The stage.
        file: Where all of it lies, relative to the run's folder.
        reason: The reason.
        rows: How many.
        unit: What they are: `row`, `file`, `answer`, `two answers` and others.
        advice: What helps, where that can be said; else empty.
        examples: The first of them, each by column; long texts are cut.
    """

    stage: str
    file: str
    reason: str
    rows: int
    unit: str
    advice: str
    examples: list[dict[str, Any]]


def rejected(run_dir: Path, *, stage: str | None = None, reason: str | None = None, limit: int = 3) -> list[Rejected]:
    """What the stages of a run set aside, in their order, the most frequent reasons first.

    Args:
        run_dir: A run's folder.
        stage: This stage alone.
        reason: This reason alone.
        limit: Examples of each reason; 0: none.

    Raises:
        ConfigError: The stage sets nothing aside, or nothing was set aside for that reason.
        InputError: No stage has finished.
    """
    if stage is not None and stage not in STAGES:
        raise ConfigError(f"--stage: {unknown_name('stage that sets rows aside', stage, STAGES)}")
    manifests = consistent(run_dir)
    if not manifests:
        raise InputError(f"{shown_place(run_dir)}: no stage has finished here, so no row was looked at yet.")
    kept = [one for one in _KEPT if one.stage in manifests and stage in (None, one.stage)]
    found = [entry for one in kept for entry in _of_table(run_dir, manifests, one, reason, limit)]
    if reason is not None and not found:
        known = {entry.reason for one in kept for entry in _of_table(run_dir, manifests, one, None, 0)}
        raise ConfigError(f"--reason: {unknown_name('reason', reason, known or ['none: nothing was set aside'])}")
    return found


def untold(run_dir: Path, stage: str | None = None) -> list[str]:
    """Stages whose folders lie in a run although `rejected` tells nothing of them.

    Their manifests are gone, or they read tables that were replaced since.

    Args:
        run_dir: A run's folder.
        stage: This stage alone.
    """
    told = consistent(run_dir)
    return [name for name in STAGES if stage in (None, name) and name not in told and (run_dir / name).is_dir()]


def _of_table(
    run_dir: Path, manifests: Mapping[str, Manifest], kept: _Kept, reason: str | None, limit: int
) -> Iterator[Rejected]:
    made_by = next((name for name, manifest in manifests.items() if kept.table in manifest.outputs), None)
    if made_by is None:
        return
    if kept.table == "pair_drops":
        yield from _prompts(manifests["pairs"], reason)
    path = run_dir / made_by / f"{kept.table}.parquet"
    files = ("source_line",) if kept.table == "rejects" else ()
    rows = read_table(path, kept.table, (kept.reason, *files)).rename({kept.reason: "reason"})
    # Line 0 stands for a file that was not read.
    whole = pl.col("source_line") == 0 if files else pl.lit(False)
    counts = rows.drop_nulls("reason").group_by(pl.col("reason").cast(pl.String), whole.alias("whole")).len()
    for name, is_file, count in counts.sort("len", "reason", descending=[True, False]).iter_rows():
        if reason in (None, name):
            holds = (pl.col(kept.reason).cast(pl.String) == name) & (whole == is_file if files else pl.lit(True))
            examples = _examples(path, kept, holds, limit)
            unit = "file" if is_file else kept.unit
            advice = _advice(kept.stage, name)
            shown = _with_texts(run_dir, kept, examples)
            file = path.relative_to(run_dir).as_posix()
            yield Rejected(kept.stage, file, name, count, unit, advice, shown)


def _prompts(pairs: Manifest, reason: str | None) -> Iterator[Rejected]:
    """What became of prompts that made no pair; two of their answers may be in `pair_drops`."""
    missed: Mapping[str, Any] = pairs.notes.get("unpaired_prompts", {})
    for name, found in sorted(missed.items(), key=lambda entry: (-entry[1]["n_prompts"], entry[0])):
        if reason in (None, name):
            yield Rejected("pairs", "pairs/pair_yield.parquet", name, found["n_prompts"], "prompt", found["advice"], [])


def _examples(path: Path, kept: _Kept, holds: pl.Expr, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    columns = [*dict.fromkeys((*kept.shown, kept.reason, *kept.texts))]
    for block in iter_table(path, kept.table, columns) if limit else ():
        found += block.filter(holds).head(limit - len(found)).to_dicts()
        if len(found) >= limit:
            break
    return found


def _with_texts(run_dir: Path, kept: _Kept, examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the prompt and the answers that their ids stand for, and cut to what is shown."""
    ids = sorted({row[column] for row in examples for column in kept.texts if row[column] is not None})
    texts = _texts(run_dir, ids)
    made = []
    for row in examples:
        shown = {name: row[name] for name in kept.shown if row[name] is not None}
        said = [texts[row[column]] for column in kept.texts if row[column] in texts]
        if said:
            shown["prompt"] = said[0][0]
        shown |= {
            "answer" if column == "response_id" else column.replace("response_id", "answer"): texts[row[column]][1]
            for column in kept.texts
            if row[column] in texts
        }
        made.append({name: _cut(value) for name, value in shown.items()})
    return made


def _cut(value: object) -> object:
    return value[:_SHOWN_CHARACTERS] if isinstance(value, str) else value


def _texts(run_dir: Path, ids: list[str]) -> dict[str, tuple[str, str]]:
    """The last message before an answer, and the answer, by response id; of all answers of the log."""
    columns, of_ids = ("response_id", "prompt", "completion"), pl.col("response_id").is_in(ids)
    # Runs of older versions have them in their events.
    for table in ("texts", "events") if ids else ():
        path = run_dir / "events" / f"{table}.parquet"
        bring(path)
        if path.is_file():
            found = read_table(path, table, columns, of_ids).unique("response_id", keep="first")
            break
    else:
        return {}
    return {row[0]: (row[1][-1]["content"] if row[1] else "", row[2]) for row in found.iter_rows()}


def _advice(stage: str, reason: str) -> str:
    if stage == "events":
        return way_out(reason).removeprefix(".").strip()
    return no_label(reason) if stage == "unpaired" else ""
