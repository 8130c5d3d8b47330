"""What is read from a source: rows with their places, and rejects with their reasons; nothing of any format."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ..errors import PipelineError
from .remarks import Remark

MAX_RAW_CHARACTERS: Final = 2_000
# A label is shown in full up to here; a longer one is not a label but a text in the wrong column.
_MAX_LABEL_CHARACTERS: Final = 60
# A longer cell is a text, and no id.
_MAX_CELL_CHARACTERS: Final = 201
Options = Mapping[str, str]


class RowError(PipelineError, ValueError):
    """Why one row, or one event of it, cannot be used.

    Attributes:
        reason: The code that the rejects table counts by.
        detail: What was seen; a field's name or a label's value, never prompt or completion text.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the code and the words apart."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Record(NamedTuple):
    """One readable row of a source.

    Attributes:
        line: Line of a text file, or row of a table or array; the first is 1.
        value: Its fields.
        raw: The row's bytes; None where the row came decoded (Parquet, hub).
        remarks: What the reader has to say of it.
    """

    line: int
    value: dict[str, Any]
    raw: bytes | None
    remarks: tuple[Remark, ...] = ()


class Reject(NamedTuple):
    """One row that cannot be used; line 0 stands for the whole source.

    Attributes:
        line: As a record's.
        reason: The code that the rejects table counts by.
        detail: What was seen.
        raw: The row's beginning, as it was logged.
        cells: Columns and beginnings of their values, where the row's text does not name its columns.
    """

    line: int
    reason: str
    detail: str
    raw: str
    cells: tuple[tuple[str, str], ...] = ()


def with_unnamed(names: Iterable[str]) -> list[str]:
    """Names of columns, by their places where several have none: a spreadsheet exports empty columns beside its own."""
    named = list(names)
    if named.count("") < 2:
        return named
    return [name or f"column {place}" for place, name in enumerate(named, 1)]


class Source(Protocol):
    """Something that holds rows."""

    @property
    def name(self) -> str:
        """How the user named it: the tables' `source_file`."""

    def rows(self) -> Iterator[Record | Reject]:
        """Every row in order, from the start, readable or not."""


class Sample(NamedTuple):
    """The first readable rows of a source, to tell its format by."""

    name: str
    records: list[dict[str, Any]]

    @property
    def fields(self) -> list[str]:
        """Names of all fields seen, in order of first sight."""
        return list(dict.fromkeys(name for record in self.records for name in record))


def reject(record: Record, error: RowError) -> Reject:
    """The reject of a readable record."""
    raw = record.raw
    if raw is None:
        try:
            raw = msgspec.json.encode(record.value, enc_hook=str)
        except (UnicodeEncodeError, ValueError, TypeError):
            raw = repr(record.value).encode("utf-8", errors="backslashreplace")
    return Reject(record.line, error.reason, error.detail, bounded_raw(raw), _cells(record))


def _cells(record: Record) -> tuple[tuple[str, str], ...]:
    """Columns of a row of CSV in their order, with their values' beginnings."""
    if record.raw is None or record.raw.lstrip()[:1] in (b"{", b"["):
        return ()
    return tuple(
        (name, value[:_MAX_CELL_CHARACTERS] if isinstance(value, str) else "") for name, value in record.value.items()
    )


def bounded_raw(data: bytes) -> str:
    """The first `MAX_RAW_CHARACTERS` characters; bytes that are not UTF-8 and NUL as escapes."""
    # A character has four bytes at most: the cut can split only one that the second cut drops anyway.
    text = data[: 4 * MAX_RAW_CHARACTERS].decode("utf-8", errors="backslashreplace")
    return text.replace("\x00", "\\x00")[:MAX_RAW_CHARACTERS]


def bounded_label(value: object) -> str:
    """A label as it may be shown in a reject: quoted and bounded, or only its type where it is no plain value."""
    if not isinstance(value, str | int | float | bool):
        return f"a {type(value).__name__}"
    text = repr(value)
    if len(text) <= _MAX_LABEL_CHARACTERS:
        return text
    return f"a {type(value).__name__} of {len(text)} characters"
