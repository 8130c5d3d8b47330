"""Rows of one file: JSON by lines, in an array or over lines, CSV or Parquet; a bad row costs only itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from .csv_rows import read_csv
from .guard import decode_object
from .json_array import array_elements, begins_array
from .json_objects import begins_indented, indented_objects
from .parquet_rows import read_parquet_rows
from .records import Record, Reject, RowError, Sample, Source, bounded_raw
from .streams import Line, content_suffix, read_lines

SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".parquet"})
_LINES: Final = frozenset({".jsonl", ".ndjson"})
_SAMPLE_RECORDS: Final = 200
# How far a sample looks for readable rows in a file that begins with broken ones.
_SAMPLE_ROWS: Final = 10_000


class FileSource(NamedTuple):
    """A file as a source of rows.

    Attributes:
        path: Where it lies.
        name: How the user named it.
        max_line_bytes: A longer row is rejected.
    """

    path: Path
    name: str
    max_line_bytes: int

    @property
    def is_parquet(self) -> bool:
        """Whether it is a table in Parquet."""
        return content_suffix(self.path) == ".parquet"

    @property
    def holds_lines(self) -> bool:
        """Whether each row is a line of JSON."""
        if content_suffix(self.path) != ".json":
            return content_suffix(self.path) in _LINES
        return not begins_array(self.path) and not begins_indented(self.path)

    def rows(self) -> Iterator[Record | Reject]:
        """Every row in order; a file without any gives one reject that says so."""
        empty = True
        for row in self._rows():
            empty = False
            yield row
        if empty:
            yield Reject(0, "empty_file", "the file holds no rows", "")

    def _rows(self) -> Iterator[Record | Reject]:
        suffix = content_suffix(self.path)
        if suffix == ".parquet":
            return read_parquet_rows(self.path, self.max_line_bytes)
        if suffix == ".csv":
            return read_csv(read_lines(self.path, self.max_line_bytes), self.max_line_bytes)
        # Only `.json` may be an array: a damaged first byte must not turn a file of lines into one broken array.
        if suffix == ".json" and begins_array(self.path):
            return _json_rows(array_elements(self.path, self.max_line_bytes))
        if suffix == ".json" and begins_indented(self.path):
            return _json_rows(indented_objects(read_lines(self.path, self.max_line_bytes), self.max_line_bytes))
        return _json_rows(read_lines(self.path, self.max_line_bytes))


def _json_rows(lines: Iterator[Line]) -> Iterator[Record | Reject]:
    return (row for line in lines if (row := json_row(line)) is not None)


def json_row(line: Line) -> Record | Reject | None:
    """The row of one line of JSON; None where the line is blank."""
    if line.error is None and not line.data.strip():
        return None
    try:
        if line.error is not None:
            raise line.error
        return Record(line.number, decode_object(line.data), line.data)
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
