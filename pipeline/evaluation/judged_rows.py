"""A table of judged pairs from a file, in whatever public layout, and what of it was not read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from ..errors import InputError
from ..identity import digest, joined
from ..reading.files import FileSource
from ..reading.fitting import fitted
from ..reading.records import Record, Reject, RowError, Sample
from ..reading.remarks import remarking
from ..report import Source
from ..storage.digests import digest_file
from .judged_layouts import JudgedLayout, JudgedRow, check_pairwise, judged_layout
from .rows import MAX_LINE_BYTES

_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "group": pl.String,
    "model_a": pl.String,
    "model_b": pl.String,
    "preference": pl.Float64,
    "judge": pl.String,
    "pair_id": pl.String,
    "a_first": pl.Boolean,
    "length_a": pl.Int64,
    "length_b": pl.Int64,
    "both_bad": pl.Boolean,
}
# What a reason of a rejected row means to a reader.
_REASONS: Final = {
    "no_verdict": "without a verdict",
    "one_model": "of one model with itself",
    "unknown_label": "with a verdict that is not known",
    "missing_field": "with a field missing",
    "no_model": "without the names of two models",
    "bad_length": "with a length that is none",
}


class JudgedPairs(NamedTuple):
    """Judged pairs of a file.

    Attributes:
        frame: Rows as `evaluate_judged` takes them.
        name: What the file is called.
        layout: Name of the layout that was read; None for a frame at hand.
        notes: Sentences on what was read, and what was not.
        sources: The file.
    """

    frame: pl.DataFrame
    name: str
    layout: str | None
    notes: tuple[str, ...]
    sources: tuple[Source, ...]


def is_judged(location: str) -> bool:
    """Whether a path is a file of judged pairs, by the names of its columns."""
    path = Path(location)
    return path.is_file() and path.suffix not in {".yaml", ".yml"} and _opened(path).layout is not None


class _Opened(NamedTuple):
    source: FileSource
    layout: JudgedLayout | None
    columns: list[str]


def _opened(path: Path) -> _Opened:
    source = FileSource(path, str(path), MAX_LINE_BYTES)
    if source.content.foreign:
        return _Opened(source, None, [])

    def fits(sample: Sample) -> bool:
        return judged_layout(sample.fields) is not None

    opened, sample = fitted(source, fits)
    return _Opened(opened, judged_layout(sample.fields), sample.fields)


def read_judged(location: str) -> JudgedPairs:
    """The judged pairs of a Parquet, JSON or CSV file.

    Raises:
        InputError: Its columns fit no layout, or no row gives a verdict.
    """
    path = Path(location)
    if not path.is_file():
        raise InputError(f"{location}: no file of this name.")
    source, layout, columns = _opened(path)
    check_pairwise(columns, location)
    if layout is None:
        raise InputError(f"{location}: columns {', '.join(columns)} are none of judged pairs.")
    rows: list[JudgedRow] = []
    rejected: Counter[str] = Counter()
    records = 0
    for row in source.rows():
        records += 1
        try:
            rows += _parsed(row, layout)
        except RowError as error:
            rejected[error.reason] += 1
    if not rows:
        told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(rejected.items()))
        raise InputError(f"{location}: no verdict can be read as {layout.name} ({told or 'no record'}).")
    frame = judged_frame(rows)
    notes = (_read_sentence(len(rows), records, layout.name, rejected), *_remarks(rows))
    return JudgedPairs(frame, path.name, layout.name, notes, (Source(location, records, digest_file(path)),))


def _parsed(row: Record | Reject, layout: JudgedLayout) -> list[JudgedRow]:
    if isinstance(row, Reject):
        raise RowError(row.reason, row.detail)
    with remarking():
        return layout.parse(row)


def judged_frame(rows: Sequence[JudgedRow]) -> pl.DataFrame:
    """Rows as `evaluate_judged` takes them; one that names no prompt is a prompt group of its own."""
    frame = pl.DataFrame(list(rows), schema=_SCHEMA, orient="row").with_row_index("line")
    own = pl.format("row:{}", "line")
    group = digest(joined(pl.lit("judged"), pl.col("group").fill_null(own)))
    return frame.select(
        group.alias("group_id"), *(name for name in _SCHEMA if name not in ("group", "both_bad")), "both_bad"
    )


def _read_sentence(verdicts: int, records: int, layout: str, rejected: Counter[str]) -> str:
    aside = ", ".join(f"{count:,} {_REASONS.get(reason, reason)}" for reason, count in sorted(rejected.items()))
    return f"{verdicts:,} verdicts from {records:,} records read as {layout}; not read: {aside or 'none'}."


def _remarks(rows: Iterable[JudgedRow]) -> list[str]:
    told = list(rows)
    alone, bad = sum(row.group is None for row in told), sum(row.both_bad for row in told)
    ties = sum(row.preference == 0.5 for row in told)
    facts: list[tuple[int, str]] = [
        (
            alone,
            f"{alone:,} rows name no prompt: each counts as a prompt of its own, which makes intervals too narrow.",
        ),
        (bad, f"{bad:,} of {ties:,} ties say that both answers are bad."),
    ]
    return [sentence for count, sentence in facts if count]


def of_frame(frame: pl.DataFrame) -> JudgedPairs:
    """Judged pairs at hand, read by the same layouts as a file's.

    Raises:
        InputError: Its columns fit no layout, or no row gives a verdict.
    """
    layout = judged_layout(frame.columns)
    if layout is None:
        raise InputError(f"columns {', '.join(frame.columns)} are none of judged pairs.")
    check_pairwise(frame.columns, "frame")
    rows: list[JudgedRow] = []
    rejected: Counter[str] = Counter()
    for place, value in enumerate(frame.iter_rows(named=True), start=1):
        try:
            rows += _parsed(_record(place, value), layout)
        except RowError as error:
            rejected[error.reason] += 1
    if not rows:
        told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(rejected.items()))
        raise InputError(f"no verdict can be read as {layout.name} ({told or 'no row'}).")
    notes = (_read_sentence(len(rows), frame.height, layout.name, rejected), *_remarks(rows))
    return JudgedPairs(judged_frame(rows), "rows", layout.name, notes, ())


def _record(place: int, value: dict[str, Any]) -> Record:
    return Record(place, value, b"")
