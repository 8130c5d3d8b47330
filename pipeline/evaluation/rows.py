"""A file of preferences, in whatever public layout, as pairs with ids, prompt groups and the columns to slice by."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import polars as pl

from ..errors import ConfigError, InputError, unknown_name
from ..importers.base import ImporterSpec, RawEvent
from ..importers.registry import importer
from ..importers.shared.fields import OPTION_OF
from ..importers.shared.messages import Answer
from ..importers.shared.prompts import OPTIONS, PromptColumns, prompt_columns
from ..reading import hub
from ..reading.files import FileSource, take_sample
from ..reading.fitting import fitted
from ..reading.records import Options, Reject, RowError, Sample, Source
from ..reading.remarks import UNREAD, ReadRow, Remarks, as_notes, in_words, remarking, unread
from ..storage.digests import digest_file
from ..tables import polars_schema
from .choosing import detects, found_layout
from .layouts import LAYOUTS, RATED, Layout, Preference, Rated, rating_column, slice_value
from .pair_frames import SliceValues, pair_frame

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# Columns of the frame itself, and of scored pairs: a slice of this name would overwrite them.
_RESERVED: Final = frozenset({"prompt", "tools", "chosen", "rejected", *polars_schema("scored_pairs")})


class PairRows(NamedTuple):
    """Pairs of a file.

    Attributes:
        frame: pair_id, group_id, prompt, tools, chosen and rejected (message lists), and the columns to slice by.
        layout: Name of the layout that was read.
        slices: Names of the columns to slice by.
        digest: What names the file's content.
        records: Records in the file.
        merged: Pairs that are there twice, by content.
        rejected: Records (of rated answers: prompts) that gave no pair, by reason.
        said: Sentences on what was not read of the other records.
    """

    frame: pl.DataFrame
    layout: str
    slices: tuple[str, ...]
    digest: str
    records: int
    merged: int
    rejected: dict[str, int]
    said: tuple[str, ...] = ()

    def told(self) -> str:
        """What was read, as a sentence."""
        aside = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.rejected.items())) or "none"
        read = (
            f"{self.frame.height:,} pairs from {self.records:,} records read as {self.layout}; "
            f"repeated {self.merged:,}; set aside: {aside}."
        )
        return " ".join((read, *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in self.said)))


_NO_OPTIONS: Final[Options] = MappingProxyType({})


class ReadOptions(NamedTuple):
    """How a file of preferences is read.

    Attributes:
        layout: A name of `layout_names()`, or `auto`.
        split: Split of a hub data set.
        rating: Column that rates an answer; None for the first of a known name.
        slices: Columns to slice by, beside the layout's own.
        options: Option to value, as `events.options` of a run file states them.
    """

    layout: str = "auto"
    split: str = "train"
    rating: str | None = None
    slices: tuple[str, ...] = ()
    options: Options = _NO_OPTIONS


class _Read(NamedTuple):
    """One record's preferences or rated answer."""

    line: int
    parsed: list[Preference] | Rated


@dataclass
class _Tally:
    """What became of the records."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    remarks: Remarks = field(default_factory=Remarks)

    def said(self, slices: Collection[str]) -> tuple[str, ...]:
        """What was seen of records that were read, but for columns that they are sliced by."""
        kept = {seen: rows for seen, rows in self.remarks.items() if seen.what not in slices or seen.kind != UNREAD}
        return tuple(in_words(as_notes(kept)))

    def told(self) -> str:
        return ", ".join(f"{reason} {count}" for reason, count in sorted(self.rejected.items())) or "no record"


def read_pairs(location: str, options: ReadOptions) -> PairRows:
    """The pairs of a Parquet, JSON or CSV file, or of a hub data set.

    Args:
        location: A path, or `hub:ID`.
        options: How it is read.

    Raises:
        ConfigError: The layout or a column to slice by is unknown.
        InputError: There is no such file, its columns fit no layout, or it gives no pair.
    """
    if options.rating is not None and options.layout == "auto":
        options = options._replace(layout=RATED)
    source, content = _source(location, options.split)
    source, sample = _opened(source, options)
    name = _layout_name(location, sample, options)
    own = LAYOUTS[name].slices if name in LAYOUTS else ()
    slices = tuple(dict.fromkeys((*own, *options.slices)))
    _check_slices(location, options.slices, sample)
    tally = _Tally()
    _check_rating(location, name, options.rating, sample)
    if name in LAYOUTS:
        rating = options.rating or rating_column(sample)
        reads = _own_reads(source, LAYOUTS[name], rating, prompt_columns(options.options), tally)
    else:
        reads = _imported_reads(source, importer(name), options.options, tally)
    rows = _sliced(list(_pair_up(reads, tally)), source, slices, tally)
    if not rows:
        raise InputError(f"{location}: no pair can be read as {name} ({tally.told()}).")
    frame = pair_frame(rows, slices)
    kept = frame.unique("pair_id", keep="first", maintain_order=True).sort("pair_id")
    return PairRows(
        kept,
        name,
        slices,
        content,
        tally.records,
        frame.height - kept.height,
        dict(sorted(tally.rejected.items())),
        tally.said(slices),
    )


def _opened(source: Source, options: ReadOptions) -> tuple[Source, Sample]:
    """The source as it is to be read, and its first rows: those of a file may be wrapped, or have names in capitals."""
    if not isinstance(source, FileSource):
        return source, take_sample(source)

    def fits(sample: Sample) -> bool:
        try:
            found = found_layout(source.name, sample, options.layout, options.options)
            return detects(found, sample, options.options)
        except InputError:
            return False

    return fitted(source, fits)


def _check_rating(location: str, layout: str, rating: str | None, sample: Sample) -> None:
    if rating is None:
        return
    if layout != RATED:
        raise ConfigError(
            f"--rating: names what rates an answer in layout {RATED}, and {location} is read as {layout}; leave one of "
            f"the two options out."
        )
    if rating not in sample.fields:
        raise ConfigError(f"--rating: {location}: {unknown_name('column', rating, sample.fields)}")


def _check_slices(location: str, slices: Sequence[str], sample: Sample) -> None:
    for name in slices:
        if name in _RESERVED:
            raise ConfigError(f"{location}: rows cannot be sliced by '{name}', which every row has of its own.")
        if name not in sample.fields:
            raise ConfigError(f"{location}: {unknown_name('column to slice by', name, sample.fields)}")


def _source(location: str, split: str) -> tuple[Source, str]:
    if location.startswith(hub.PREFIX):
        options = {"split": split}
        return hub.HubSource(location, options), hub.digest(location, options)
    path = Path(location)
    if not path.is_file():
        raise InputError(f"{location}: no such file.")
    source = FileSource(path, location, MAX_LINE_BYTES)
    if foreign := source.content.foreign:
        raise InputError(f"{location}: {foreign}.")
    return source, digest_file(path)


def _layout_name(location: str, sample: Sample, options: ReadOptions) -> str:
    name = found_layout(location, sample, options.layout, options.options)
    known = OPTIONS if name in LAYOUTS else importer(name).options
    for option in options.options:
        if option not in known:
            raise ConfigError(f"--option: {unknown_name(f'option of {name}', option, known or ['none'], OPTION_OF)}")
    return name


def _own_reads(source: Source, layout: Layout, rating: str, columns: PromptColumns, tally: _Tally) -> Iterator[_Read]:
    for row in source.rows():
        tally.records += 1
        if isinstance(row, Reject):
            tally.rejected[row.reason] += 1
            continue
        value = ReadRow(row.value)
        try:
            with remarking() as seen:
                parsed = layout.parse(row._replace(value=value), rating, columns)
        except RowError as error:
            tally.rejected[error.reason] += 1
            continue
        tally.remarks.update({*seen, *unread(value)})
        yield _Read(row.line, parsed)


def _imported_reads(source: Source, spec: ImporterSpec, options: Options, tally: _Tally) -> Iterator[_Read]:
    """Explicit comparisons of a log format: both sides of one are events of one record."""
    for batch in spec.read(source, options):
        tally.records += batch.records
        tally.remarks.update(batch.remarks)
        tally.rejected.update(reject.reason for reject in batch.rejects)
        waiting: dict[tuple[int, str], RawEvent] = {}
        for event in batch.events:
            if event.comparison_id is None:
                tally.rejected["no_comparison"] += 1
                continue
            other = waiting.pop((event.line, event.comparison_id), None)
            if other is None:
                waiting[event.line, event.comparison_id] = event
                continue
            sides = {event.vote: event, other.vote: other}
            if sides.keys() == {"chosen", "rejected"}:
                pair = Preference(event.prompt, _answer(sides["chosen"]), _answer(sides["rejected"]), event.tools)
                yield _Read(event.line, [pair])
            else:
                tally.rejected[event.vote] += 1


def _answer(event: RawEvent) -> Answer:
    return Answer(event.completion, event.completion_extra)


def _pair_up(reads: Iterable[_Read], tally: _Tally) -> Iterator[tuple[int, Preference]]:
    """Preferences as they are, and rated answers as pairs of each two that differ in their rating."""
    rated: dict[str, list[tuple[int, Rated]]] = {}
    for read in reads:
        if isinstance(read.parsed, Rated):
            rated.setdefault(repr(read.parsed.prompt), []).append((read.line, read.parsed))
        else:
            yield from ((read.line, preference) for preference in read.parsed)
    for answers in rated.values():
        differ = [pair for pair in combinations(answers, 2) if pair[0][1].rating != pair[1][1].rating]
        if not differ:
            tally.rejected["one_response" if len(answers) == 1 else "tied"] += 1
        for pair in differ:
            (line, better), (_, worse) = sorted(pair, key=lambda entry: -entry[1].rating)
            yield line, Preference(better.prompt, better.completion, worse.completion)


def _sliced(
    pairs: list[tuple[int, Preference]], source: Source, slices: Sequence[str], tally: _Tally
) -> list[tuple[Preference, SliceValues]]:
    """Pairs with the values that they are sliced by, which are read from their records again."""
    if not slices:
        return [(preference, ()) for _, preference in pairs]
    found: dict[int, SliceValues] = {}
    lines = {line for line, _ in pairs}
    for row in source.rows():
        if isinstance(row, Reject) or row.line not in lines:
            continue
        try:
            found[row.line] = tuple(slice_value(row.value.get(name)) for name in slices)
        except RowError as error:
            tally.rejected[error.reason] += 1
    return [(preference, found[line]) for line, preference in pairs if line in found]
