"""Rows of one file, told by its first bytes: JSON by lines, in an array, over lines or wrapped, CSV, Parquet, Arrow.

A bad row costs only itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from .arrow_rows import read_arrow_rows
from .contents import Content, content_of, is_divisible, raw_head
from .csv_rows import read_csv
from .guard import decode_row
from .json_array import array_elements
from .json_objects import indented_objects
from .json_wrapped import Wrapped, wrapped_elements
from .parquet_rows import read_parquet_rows
from .records import Record, Reject, RowError, Sample, Source, bounded_raw
from .remarks import NOT_A_NUMBER, Remark
from .streams import Line, read_lines

_SAMPLE_RECORDS: Final = 200
# How far a sample looks for readable rows in a file that begins with broken ones.
_SAMPLE_ROWS: Final = 10_000


class FileSource(NamedTuple):
    """A file as a source of rows.

    Attributes:
        path: Where it lies.
        name: How the user named it.
        max_line_bytes: A longer row is rejected.
        encoding: Of its text, where the user states it; None: UTF-8, or UTF-16 where the first bytes say so.
        folded: Whether columns go by their names in small letters without outer spaces.
        wrapped: The list inside the file's one object that holds the rows; None: the file itself holds them.
    """

    path: Path
    name: str
    max_line_bytes: int
    encoding: str | None = None
    folded: bool = False
    wrapped: Wrapped | None = None

    @property
    def content(self) -> Content:
        """What the file holds, as its first bytes say."""
        return content_of(self.path, self.encoding)

    @property
    def is_parquet(self) -> bool:
        """Whether it is a table in Parquet."""
        return self.content.kind == "parquet"

    @property
    def holds_lines(self) -> bool:
        """Whether each row is a line of JSON as it is: in UTF-8 or UTF-16, ended by a line feed."""
        as_it_is = self.encoding is None and self.wrapped is None and not self.folded
        return as_it_is and self.content == Content("lines")

    @property
    def is_divisible(self) -> bool:
        """Whether parts of the file can be read apart."""
        return self.is_parquet or is_divisible(raw_head(self.path))

    def rows(self) -> Iterator[Record | Reject]:
        """Every row in order; a file without any gives one reject that says so."""
        empty = True
        for row in self._rows(self.content):
            empty = False
            yield _folded(row) if self.folded and isinstance(row, Record) else row
        if empty:
            yield Reject(0, "empty_file", "the file holds no rows", "")

    def _rows(self, content: Content) -> Iterator[Record | Reject]:
        if content.foreign:
            return iter([Reject(0, "unreadable_file", content.foreign, "")])
        if content.kind == "parquet":
            return read_parquet_rows(self.path, self.max_line_bytes)
        if content.kind == "arrow":
            return read_arrow_rows(self.path, self.max_line_bytes)
        if self.wrapped is not None:
            return _json_rows(wrapped_elements(self.path, self.wrapped, self.max_line_bytes, self.encoding))
        if content.kind == "array":
            return _json_rows(array_elements(self.path, self.max_line_bytes, self.encoding))
        lines = read_lines(self.path, self.max_line_bytes, newline=content.newline, encoding=self.encoding)
        if content.kind == "csv":
            return read_csv(lines, self.max_line_bytes, content.newline)
        return _json_rows(indented_objects(lines, self.max_line_bytes) if content.kind == "indented" else lines)


def _folded(row: Record) -> Record:
    """The row with its columns' names in small letters; a name that two columns would share stays as it is."""
    names = [name.strip().lower() for name in row.value]
    value = {
        (new if names.count(new) == 1 else name): field
        for new, (name, field) in zip(names, row.value.items(), strict=True)
    }
    return row._replace(value=value)


def _json_rows(lines: Iterator[Line]) -> Iterator[Record | Reject]:
    return (row for line in lines if (row := json_row(line)) is not None)


def json_row(line: Line) -> Record | Reject | None:
    """The row of one line of JSON; None where the line is blank."""
    if line.error is None and not line.data.strip():
        return None
    try:
        if line.error is not None:
            raise line.error
        value, nulled = decode_row(line.data)
        return Record(line.number, value, line.data, tuple(Remark(NOT_A_NUMBER, field) for field in nulled))
    except RowError as error:
        return Reject(line.number, error.reason, error.detail, bounded_raw(line.data))


def take_sample(source: Source) -> Sample:
    """The first readable rows of a source."""
    records: list[dict[str, Any]] = []
    for count, row in enumerate(source.rows()):
        if isinstance(row, Record):
            records.append(row.value)
        if len(records) >= _SAMPLE_RECORDS or count >= _SAMPLE_ROWS:
            break
    return Sample(source.name, records)
