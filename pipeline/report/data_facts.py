"""What went in, what became of it and why: the funnel, the splits, the pair yield, the rejected rows."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from ..tables import SPLIT
from .formatting import excerpt
from .funnel import Step, funnel
from .inputs import Missing, ReportInputs

_EXAMPLES: Final = 3
# The way out of a refusal stands at its end, after the columns that the log has.
_DETAIL_CHARACTERS: Final = 480
# Stages whose sentences stand beside what they are about: in the verdict or the warnings, and in the funnel.
_TOLD_ELSEWHERE: Final = frozenset({"splits", "responses"})


class Yield(NamedTuple):
    """What became of some prompts on the way to pairs."""

    outcome: str
    prompts: int
    share: float
    advice: str


class SplitSize(NamedTuple):
    """Rows of one split."""

    split: str
    prompts: int
    unpaired: int | None
    pairs: int | None


class RejectedReason(NamedTuple):
    """Log rows that could not be read, or whole files, of one reason, and where the first of them are."""

    reason: str
    rows: int
    first: str
    detail: str


@dataclass(frozen=True)
class DataFacts:
    """The section on data; `remarks` are sentences on what was seen of rows and stands nowhere else on the page."""

    steps: tuple[Step, ...] | Missing
    splits: tuple[SplitSize, ...] | Missing
    pair_yield: tuple[Yield, ...] | Missing
    rejects: tuple[RejectedReason, ...] | Missing
    remarks: tuple[str, ...] = ()


def data_facts(inputs: ReportInputs) -> DataFacts:
    """Funnel, splits, pair yield and rejected rows of a run."""
    return DataFacts(
        steps=funnel(inputs),
        splits=_splits(inputs),
        pair_yield=_pair_yield(inputs),
        rejects=_rejects(inputs),
        remarks=_remarks(inputs),
    )


def _remarks(inputs: ReportInputs) -> tuple[str, ...]:
    told = (manifest for stage, manifest in inputs.manifests.items() if stage not in _TOLD_ELSEWHERE)
    return tuple(sentence for manifest in told for sentence in manifest.said)


def _splits(inputs: ReportInputs) -> tuple[SplitSize, ...] | Missing:
    splits = inputs.table("splits")
    if splits is None:
        return Missing("There is no table of splits: every row given was evaluated.")
    parts = {kind: inputs.tables.get(kind) for kind in ("unpaired", "pairs")}
    rows = {kind: None if frame is None else _per_split(frame, splits) for kind, frame in parts.items()}
    prompts = _per_split(splits, splits)
    return tuple(
        SplitSize(
            split,
            prompts.get(split, 0),
            *(None if counted is None else counted.get(split, 0) for counted in (rows["unpaired"], rows["pairs"])),
        )
        for split in SPLIT.categories
    )


def _per_split(rows: pl.DataFrame, splits: pl.DataFrame) -> dict[str, int]:
    named = rows.select("prompt_id").join(
        splits.select("prompt_id", pl.col("split").cast(pl.String)), on="prompt_id", how="inner", validate="m:1"
    )
    return dict(named.group_by("split").len().iter_rows())


def _pair_yield(inputs: ReportInputs) -> tuple[Yield, ...] | Missing:
    frame = inputs.table("pair_yield")
    if frame is None:
        return Missing("No pairs were made from votes here, so there is no yield to show.")
    total = int(frame["n_prompts"].sum())
    return tuple(
        Yield(row["outcome"], row["n_prompts"], row["n_prompts"] / total if total else 0.0, row["advice"])
        for row in frame.iter_rows(named=True)
        if row["n_prompts"] or row["outcome"] == "paired"
    )


def _rejects(inputs: ReportInputs) -> tuple[RejectedReason, ...] | Missing:
    frame = inputs.table("rejects")
    if frame is None:
        was_read = "events" in inputs.manifests or "rejects" in inputs.tables
        return Missing("No log row was rejected." if was_read else "No log was read here.")
    name, whole = pl.col("source_file").str.split("/").list.last(), pl.col("source_line") == 0
    place = pl.when(whole).then(name).otherwise(pl.format("{}:{}", name, "source_line"))
    grouped = (
        frame.sort("source_file", "source_line")
        .group_by("reason", whole.alias("whole"), maintain_order=True)
        .agg(pl.len().alias("rows"), place.head(_EXAMPLES).alias("first"), pl.col("detail").first())
        .with_columns(reason=pl.concat_str("reason", pl.when("whole").then(pl.lit(": not read")).otherwise(pl.lit(""))))
        .sort(["rows", "reason"], descending=[True, False])
    )
    return tuple(
        RejectedReason(row["reason"], row["rows"], ", ".join(row["first"]), excerpt(row["detail"], _DETAIL_CHARACTERS))
        for row in grouped.iter_rows(named=True)
    )
