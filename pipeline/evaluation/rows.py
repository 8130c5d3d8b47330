"""A file of preferences, in whatever public layout, as pairs with ids, prompt groups and the columns to slice by."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl
import pyarrow as pa

from pipeline.artifacts import digest_file
from pipeline.errors import ConfigError, InputError, unknown_name
from pipeline.evaluation.layouts import LAYOUTS, Layout, Preference, Rated, layout_of, rating_column, slice_value
from pipeline.identity import as_answer, digest, joined, normalised, prompt_key
from pipeline.importers.base import Record, Reject, RowError, Sample, Source
from pipeline.importers.files import FileSource, take_sample
from pipeline.importers.hub import PREFIX, HubSource
from pipeline.importers.hub import digest as digest_hub
from pipeline.tables import MESSAGES, polars_schema

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_ARROW_MESSAGES: Final = pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.large_string())]))
# Columns of the frame itself, and of scored pairs: a slice of this name would overwrite them.
_RESERVED: Final = frozenset({"prompt", "chosen", "rejected", *polars_schema("scored_pairs")})


SliceValues: TypeAlias = tuple[str | float | None, ...]


class PairRows(NamedTuple):
    """Pairs of a file.

    Attributes:
        frame: pair_id, group_id, prompt, chosen, rejected (message lists) and the columns to slice by, by pair_id.
        layout: Name of the layout that was read.
        slices: Names of the columns to slice by.
        digest: What names the file's content.
        records: Records in the file.
        merged: Pairs that are there twice, by content.
        rejected: Records (of rated answers: prompts) that gave no pair, by reason.
    """

    frame: pl.DataFrame
    layout: str
    slices: tuple[str, ...]
    digest: str
    records: int
    merged: int
    rejected: dict[str, int]

    def told(self) -> str:
        """What was read, as a sentence."""
        aside = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.rejected.items())) or "none"
        return (
            f"{self.frame.height:,} pairs from {self.records:,} records read as {self.layout}; "
            f"repeated {self.merged:,}; set aside: {aside}."
        )


class ReadOptions(NamedTuple):
    """How a file of preferences is read.

    Attributes:
        layout: A name of `LAYOUTS`, or `auto`.
        split: Split of a hub data set.
        rating: Column that rates an answer; None for the first of a known name.
        slices: Columns to slice by, beside the layout's own.
    """

    layout: str = "auto"
    split: str = "train"
    rating: str | None = None
    slices: tuple[str, ...] = ()


class _Line(NamedTuple):
    line: int
    parsed: list[Preference] | Rated
    slices: SliceValues


def read_pairs(location: str, options: ReadOptions) -> PairRows:
    """The pairs of a Parquet, JSON or CSV file, or of a hub data set.

    Args:
        location: A path, or `hub:ID`.
        options: How it is read.

    Raises:
        ConfigError: The layout or a column to slice by is unknown.
        InputError: There is no such file, its columns fit no layout, or it gives no pair.
    """
    source, content = _source(location, options.split)
    sample = take_sample(source)
    layout = _layout(location, sample, options.layout)
    slices = tuple(dict.fromkeys((*layout.slices, *options.slices)))
    _check_slices(location, options.slices, sample)
    rejected: Counter[str] = Counter()
    records = Counter[str]()
    lines = _lines(source, layout, options.rating or rating_column(sample), slices, rejected, records)
    rows = _pair_up(lines, rejected)
    if not rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items())) or "no record"
        raise InputError(f"{location}: no pair can be read as {layout.name} ({reasons}).")
    frame = _frame(rows, slices)
    kept = frame.unique("pair_id", keep="first", maintain_order=True).sort("pair_id")
    return PairRows(kept, layout.name, slices, content, records["records"], frame.height - kept.height, dict(rejected))


def _check_slices(location: str, slices: Sequence[str], sample: Sample) -> None:
    for name in slices:
        if name in _RESERVED:
            raise ConfigError(f"{location}: rows cannot be sliced by '{name}', which every row has of its own.")
        if name not in sample.fields:
            raise ConfigError(f"{location}: {unknown_name('column to slice by', name, sample.fields)}")


def _source(location: str, split: str) -> tuple[Source, str]:
    if location.startswith(PREFIX):
        options = {"split": split}
        return HubSource(location, options), digest_hub(location, options)
    path = Path(location)
    if not path.is_file():
        raise InputError(f"{location}: no such file.")
    return FileSource(path, location, MAX_LINE_BYTES), digest_file(path)


def _layout(location: str, sample: Sample, name: str) -> Layout:
    if name != "auto":
        if name not in LAYOUTS:
            raise ConfigError(f"--layout: {unknown_name('layout', name, ['auto', *LAYOUTS])}")
        return LAYOUTS[name]
    found = layout_of(sample)
    if found is None:
        columns = ", ".join(sample.fields) or "none that can be read"
        raise InputError(
            f"{location}: columns {columns} fit no layout of pairs. Rename them to prompt, chosen and rejected; "
            f"known layouts: {', '.join(LAYOUTS)}."
        )
    return found


def _lines(
    source: Source,
    layout: Layout,
    rating: str,
    slices: Sequence[str],
    rejected: Counter[str],
    records: Counter[str],
) -> Iterator[_Line]:
    for row in source.rows():
        records["records"] += 1
        if isinstance(row, Reject):
            rejected[row.reason] += 1
            continue
        try:
            yield _read(row, layout, rating, slices)
        except RowError as error:
            rejected[error.reason] += 1


def _read(record: Record, layout: Layout, rating: str, slices: Sequence[str]) -> _Line:
    parsed = layout.parse(record, rating)
    return _Line(record.line, parsed, tuple(slice_value(record.value.get(name)) for name in slices))


def _pair_up(lines: Iterator[_Line], rejected: Counter[str]) -> list[tuple[Preference, SliceValues]]:
    """Preferences as they are, and rated answers as pairs of each two that differ in their rating."""
    found: list[tuple[Preference, SliceValues]] = []
    rated: dict[str, list[tuple[Rated, SliceValues]]] = {}
    for line in lines:
        if isinstance(line.parsed, Rated):
            rated.setdefault(repr(line.parsed.prompt), []).append((line.parsed, line.slices))
        else:
            found += [(preference, line.slices) for preference in line.parsed]
    for answers in rated.values():
        pairs = list(_by_rating(answers))
        if not pairs:
            rejected["one_response" if len(answers) == 1 else "tied"] += 1
        found += pairs
    return found


def _by_rating(
    answers: Sequence[tuple[Rated, SliceValues]],
) -> Iterator[tuple[Preference, SliceValues]]:
    for first, second in combinations(answers, 2):
        if first[0].rating == second[0].rating:
            continue
        (better, slices), (worse, _) = sorted((first, second), key=lambda entry: -entry[0].rating)
        yield Preference(better.prompt, better.completion, worse.completion), slices


def _frame(rows: Sequence[tuple[Preference, SliceValues]], slices: Sequence[str]) -> pl.DataFrame:
    preferences = [preference for preference, _ in rows]
    # Through Arrow, since polars builds a frame a message list on the way.
    messages = pa.array([preference.prompt for preference in preferences], _ARROW_MESSAGES)
    columns: dict[str, Any] = {
        "prompt": pl.Series("prompt", messages, dtype=MESSAGES),
        "chosen": pl.Series([preference.chosen for preference in preferences], dtype=pl.String),
        "rejected": pl.Series([preference.rejected for preference in preferences], dtype=pl.String),
    }
    for place, name in enumerate(slices):
        columns[name] = _slice_column([values[place] for _, values in rows])
    prompt = prompt_key(pl.col("prompt"))
    return (
        pl.DataFrame(columns)
        .with_columns(
            pair_id=digest(joined(prompt, normalised(pl.col("chosen")), normalised(pl.col("rejected")))),
            group_id=digest(joined(pl.lit("text"), prompt_key(pl.col("prompt"), loose=True))),
        )
        .with_columns(as_answer(pl.col(side)).alias(side) for side in ("chosen", "rejected"))
        .select("pair_id", "group_id", "prompt", "chosen", "rejected", *slices)
    )


def _slice_column(values: Sequence[str | float | None]) -> pl.Series:
    """Numbers stay numbers, so that they can be cut into ranges; a column of both kinds is text."""
    if any(isinstance(value, str) for value in values):
        return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    whole = all(value is None or isinstance(value, int) for value in values)
    return pl.Series(values, dtype=pl.Int64 if whole else pl.Float64)
