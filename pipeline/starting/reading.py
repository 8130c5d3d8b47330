"""The first rows of a run's inputs, read as the run itself will read them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import polars as pl

from ..config import EventsConfig
from ..importers.registry import importer
from ..importers.shared.seen import Label, watching
from ..ingest.columns import RAW_EVENTS
from ..ingest.frames import read_unit
from ..ingest.plan import Plan, Unit, read_together
from ..reading.contents import raw_head
from ..reading.csv_rows import delimiter_name
from ..reading.encodings import is_other_encoding
from ..reading.files import FileSource
from ..reading.records import Record, Reject, Source
from ..reading.remarks import Remarks
from ..reading.streams import is_packed
from ..tables import polars_schema

# So many rows of a file are looked at; of formats that join votes with their texts more, since these may lie far apart.
MOST_ROWS: Final = 10_000
MOST_JOINED_ROWS: Final = 200_000
_KINDS: Final[Mapping[str, str]] = {
    "lines": "lines of JSON",
    "array": "a JSON array",
    "indented": "JSON over several lines",
    "csv": "CSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
_EVENTS: Final = RAW_EVENTS.to_frame()
_REJECTS: Final = polars_schema("rejects").to_frame()


class FirstRows(NamedTuple):
    """The first rows of a source, as a source of its name."""

    source: Source
    most: int

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    def rows(self) -> Iterator[Record | Reject]:
        """Its first rows."""
        return islice(self.source.rows(), self.most)


class SourceRead(NamedTuple):
    """What became of the first rows of one input.

    Attributes:
        name: Its name.
        holds: Kind of file, delimiter and encoding, as a person says it.
        format: A name of `thumbline formats`; empty where it is not read.
        rows: Rows that were looked at.
        whole: Whether these are all.
        events: Events of them, repeated deliveries included.
        rejected: Rejects of them.
        refusal: Why it is not read, where it is not.
    """

    name: str
    holds: str
    format: str
    rows: int = 0
    whole: bool = True
    events: int = 0
    rejected: int = 0
    refusal: str = ""


class FirstRead(NamedTuple):
    """What the first rows of all inputs gave.

    Attributes:
        sources: Input by input.
        events: Schema `ingest.columns.RAW_EVENTS`.
        rejects: Table `rejects`.
        labels: Labels by what each was taken for, counted.
        remarks: What else was seen of rows, counted.
    """

    sources: list[SourceRead]
    events: pl.DataFrame
    rejects: pl.DataFrame
    labels: Mapping[Label, int]
    remarks: Remarks


def read_first(plans: Sequence[Plan], config: EventsConfig) -> FirstRead:
    """The first rows of sources.

    Args:
        plans: Each source and how it is read.
        config: The run's settings of events.

    Raises:
        InputError: A column is not clear, or a data set does not load.
        ConfigError: An option's value does not hold.
    """
    read: dict[str, SourceRead] = {entry.source.name: _unread(entry) for entry in plans}
    events, rejects, remarks = [_EVENTS], [_REJECTS], Remarks()
    with watching() as labels:
        for entry in read_together(list(plans)):
            if entry.format is None:
                continue
            most = MOST_ROWS if importer(entry.format).read_together is None else MOST_JOINED_ROWS
            beside = tuple(FirstRows(source, most) for source in entry.beside)
            first = entry._replace(source=FirstRows(entry.source, most), fast=None, beside=beside)
            for batch in read_unit(Unit(0, first, None), config):
                seen = read[batch.source]
                rows = seen.rows + batch.records
                read[batch.source] = seen._replace(
                    rows=rows,
                    whole=rows < most,
                    events=seen.events + len(batch.events),
                    rejected=seen.rejected + len(batch.rejects),
                )
                events.append(batch.events)
                rejects.append(batch.rejects)
                remarks.update(batch.remarks)
    return FirstRead(list(read.values()), pl.concat(events), pl.concat(rejects), labels, remarks)


def _unread(entry: Plan) -> SourceRead:
    source = entry.source
    holds = held_by(source) if isinstance(source, FileSource) else "a data set"
    return SourceRead(source.name, holds, entry.format or "", refusal=entry.refusal)


def held_by(source: FileSource) -> str:
    """What kind of file it is, such as `CSV with semicolons, in UTF-16`."""
    content, head = source.content, raw_head(source.path)
    kind = _KINDS[content.kind] if source.wrapped is None else "a list inside one JSON object"
    if content.kind == "csv":
        kind += f" with {delimiter_name(source.path, content.newline, source.encoding)}"
    if source.encoding is not None or is_other_encoding(head):
        kind += f", in {source.encoding or 'UTF-16'}"
    return f"{kind}, packed" if is_packed(head) else kind
