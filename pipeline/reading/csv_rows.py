"""Rows of a CSV file, quoted line breaks included, where a stray quote costs one line and not the rest of the file."""

import re
from codecs import BOM_UTF8
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from .records import Record, Reject, RowError, bounded_raw, with_unnamed
from .streams import Line, read_lines

# A text of more line breaks than this is taken as a quote that was never closed.
_MAX_LINES_PER_ROW: Final = 10_000
_LONGEST_HEADER: Final = 1 << 20
# Gradio's chat log names five columns and writes four values a row, without the flag: a known fault of a known writer.
_NAMED_BUT_NOT_WRITTEN: Final[dict[tuple[str, ...], str]] = {
    ("conversation", "index", "value", "flag", "timestamp"): "flag"
}


_DELIMITERS: Final = (",", "\t", ";")
_NAMES: Final = {",": "a comma", "\t": "a tab", ";": "a semicolon"}
_SEVERAL: Final = {",": "commas", "\t": "tabs", ";": "semicolons"}
_STATED_DELIMITER: Final = re.compile(rb'"?sep=([\x20-\x7e\t])"?\s*$', re.IGNORECASE)
_QUOTED: Final = re.compile(rb'"[^"]*"')
# Where files were put together, the mark that each began with stands inside; a name that one sees has none.
_MARK: Final = "\ufeff"


class _Row(NamedTuple):
    """Consecutive lines that belong to one row."""

    lines: list[Line]
    closed: bool
    newline: bytes

    @property
    def data(self) -> bytes:
        return self.newline.join(line.data for line in self.lines)


def read_csv(lines: Iterator[Line], max_row_bytes: int, newline: bytes = b"\n") -> Iterator[Record | Reject]:
    """The file's rows as dicts of its header's names; an empty cell is None, every other value a string.

    What stands between cells is told by the header: whichever of comma, semicolon and tab it has most of. Excel's line
    `sep=;` before it states any other sign.

    Where a row of several lines does not parse, only its first line is rejected and reading goes on at the second:
    whether a quote was stray cannot be known, but the good rows that it swallowed can be found.
    """
    waiting = deque[Line]()
    header: list[str] | None = None
    delimiter: str | None = None
    while (row := _next_row(waiting, lines, max_row_bytes, newline)) is not None:
        first = row.lines[0]
        try:
            if header is None and delimiter is None and (stated := _STATED_DELIMITER.match(row.data)) is not None:
                delimiter = stated.group(1).decode("ascii")
                continue
            delimiter = delimiter or _delimiter(row.data)
            cells = _cells(row, delimiter)
            if header is None:
                header = _checked_header(cells)
                continue
            yield Record(first.number, _named(header, cells), row.data)
        except RowError as error:
            raw = bounded_raw(first.data)
            yield Reject(first.number, error.reason, error.detail, raw, _likely_cells(raw, header, delimiter))
            if header is None:
                return
            waiting.extendleft(reversed(row.lines[1:]))


def _likely_cells(raw: str, header: list[str] | None, delimiter: str | None) -> tuple[tuple[str, str], ...]:
    """Cells of a row that does not parse, by their places from the left and from the right: one of the two is right."""
    if header is None or delimiter is None:
        return ()
    cells = [cell.strip('"') for cell in raw.rstrip("\r\n").split(delimiter)]
    return (*zip(header, cells, strict=False), *zip(reversed(header), reversed(cells), strict=False))


def delimiter_name(path: Path, newline: bytes = b"\n", encoding: str | None = None) -> str:
    """What stands between the cells of a CSV file, such as `semicolons`, by its first line.

    Args:
        path: The file.
        newline: What ends its lines.
        encoding: Of its text, where it is stated.
    """
    header = next((line.data for line in read_lines(path, _LONGEST_HEADER, newline=newline, encoding=encoding)), b"")
    stated = _STATED_DELIMITER.match(header)
    sign = _delimiter(header) if stated is None else stated.group(1).decode("ascii")
    return _SEVERAL.get(sign, f"'{sign}'")


def _next_row(waiting: deque[Line], lines: Iterator[Line], max_row_bytes: int, newline: bytes) -> _Row | None:
    """The next line, and with it those that its open quote takes in."""
    taken: list[Line] = []
    quotes = size = 0
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        if not taken and line.error is None and not line.data.strip():
            continue
        taken.append(line)
        quotes += line.data.count(b'"')
        size += len(line.data) + 1
        if line.error is not None or size > max_row_bytes or len(taken) > _MAX_LINES_PER_ROW:
            return _Row(taken, len(taken) == 1, newline)
        if quotes % 2 == 0:
            return _Row(taken, closed=True, newline=newline)
    return _Row(taken, closed=False, newline=newline) if taken else None


def _delimiter(header: bytes) -> str:
    """What the header has most of outside of quotes; a comma where nothing is more."""
    names = _QUOTED.sub(b"", header)
    return max(_DELIMITERS, key=lambda sign: names.count(sign.encode()))


def _cells(row: _Row, delimiter: str) -> list[str]:
    """The row's cells.

    Raises:
        RowError: A line has an error, an open quote, a NUL, or is not UTF-8 or not CSV.
    """
    first = row.lines[0]
    if first.error is not None:
        raise first.error
    if not row.closed:
        raise RowError("broken_csv", "a quote is not closed")
    data = (row.data.removesuffix(b"\r") if row.newline == b"\n" else row.data).removeprefix(BOM_UTF8)
    if b"\x00" in data:
        raise RowError("nul_character", "a NUL byte stands in the row")
    try:
        return _split(data.decode("utf-8"), delimiter, row.newline.decode())
    except UnicodeDecodeError as error:
        raise RowError("invalid_utf8", f"byte {error.start} is not UTF-8") from error


def _split(text: str, delimiter: str, newline: str) -> list[str]:
    """Cells of one row (RFC 4180). Not the csv module's: its limit of a cell's length is one global for all threads."""
    cells: list[str] = []
    position = 0
    while position <= len(text):
        if text.startswith('"', position):
            end = _closing_quote(text, position + 1)
            cells.append(text[position + 1 : end].replace('""', '"'))
            end += 1
            if end < len(text) and text[end] != delimiter:
                raise RowError("broken_csv", f"a closing quote is not followed by {_NAMES.get(delimiter, delimiter)}")
        else:
            comma = text.find(delimiter, position)
            end = len(text) if comma < 0 else comma
            cells.append(text[position:end])
            if newline in cells[-1]:
                raise RowError("broken_csv", "a quote is not closed")
        position = end + 1
    return cells


def _closing_quote(text: str, position: int) -> int:
    while (quote := text.find('"', position)) >= 0:
        if not text.startswith('""', quote):
            return quote
        position = quote + 2
    raise RowError("broken_csv", "a quote is not closed")


def _checked_header(cells: list[str]) -> list[str]:
    cells = with_unnamed(name.strip().strip(_MARK).strip() for name in cells)
    repeated = sorted(name for name, count in Counter(cells).items() if count > 1)
    if repeated:
        raise RowError("duplicate_key", f"the header names {len(repeated)} column(s) twice, first '{repeated[0][:60]}'")
    return cells


def _named(header: list[str], cells: list[str]) -> dict[str, Any]:
    absent = _NAMED_BUT_NOT_WRITTEN.get(tuple(header))
    if absent is not None and len(cells) == len(header) - 1:
        header = [name for name in header if name != absent]
    if len(cells) != len(header):
        raise RowError("wrong_column_count", f"{len(cells)} cells under a header of {len(header)}")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}
