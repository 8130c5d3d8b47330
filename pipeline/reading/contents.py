"""What a file holds, told by its first bytes and only then by its name."""

import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

from .encodings import is_other_encoding, utf8
from .records import RowError
from .streams import content_suffix, is_packed, read_bytes

Kind = Literal["lines", "array", "indented", "csv", "parquet", "arrow"]
SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow"})
# Tables whose files are read at random places: a compressed one is no log that anyone writes.
BINARY: Final = frozenset({".parquet", ".arrow"})
_HEAD_BYTES: Final = 1 << 16
_BOM: Final = b"\xef\xbb\xbf"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_LINES: Final = frozenset({".jsonl", ".ndjson"})
_SEPARATED: Final = frozenset({".csv", ".tsv"})
_AS_CSV: Final = "save the sheet as CSV in UTF-8"
_AS_PARQUET: Final = "write its table as Parquet or as lines of JSON"
_UNPACK: Final = "unpack it first"
_FROM_SQLITE: Final = "export its table: sqlite3 FILE -json 'select * from TABLE' > log.json"
_PICKLE: Final = "a pickle, which may run code when it is opened"
# What is not read: place of the mark, mark, what the file is, the way out.
_FOREIGN: Final[tuple[tuple[int, bytes, str, str], ...]] = (
    (0, b"SQLite format 3\x00", "a SQLite database", _FROM_SQLITE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook or another Office file", _AS_CSV),
    (0, b"%PDF-", "a PDF", "export the log as CSV or JSON"),
    (0, b"ORC", "an ORC table", _AS_PARQUET),
    (0, b"Obj\x01", "an Avro file", _AS_PARQUET),
    (0, b"FEA1", "a Feather file of version 1", _AS_PARQUET),
    (0, b"PARE", "an encrypted Parquet file", "decrypt it first"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _AS_PARQUET),
    (0, b"\x93NUMPY", "a NumPy array", _AS_PARQUET),
    (8, b"DUCK", "a DuckDB database", "export its table: COPY (SELECT * FROM table) TO 'log.parquet'"),
    (0, b"PGDMP", "a PostgreSQL dump", "export the table: \\copy (SELECT * FROM table) TO 'log.csv' CSV HEADER"),
    (0, b"BZh", "a bzip2 file", "unpack it first: bunzip2 FILE"),
    (0, b"\xfd7zXZ\x00", "an xz file", "unpack it first: unxz FILE"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", "unpack it first: unlz4 FILE"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", "unpack it first: tar -xf FILE"),
    (0, b"\x89PNG", "a picture", "export the log as CSV or JSON"),
    (0, b"\xff\xd8\xff", "a picture", "export the log as CSV or JSON"),
    (0, b"\xff\xfe\x00\x00", "a text in UTF-32", "state it: --set 'events.options={encoding: utf-32}'"),
    (0, b"version https://git-lfs", "a pointer of Git LFS and not the file itself", "fetch the file: git lfs pull"),
    *((0, b"\x80" + bytes([protocol]), _PICKLE, _AS_PARQUET) for protocol in (2, 3, 4, 5)),
)  # fmt: skip
# Of texts, after white space and whatever their case.
_FOREIGN_TEXTS: Final = (
    (rb"<!doctype html|<html", "an HTML page", "export the log again as CSV or JSON: it may be a login page"),
    (rb"<\?xml", "an XML file", "export the log as CSV or JSON"),
    (rb"-- (?:postgresql|mysql|mariadb)[^\n]* dump", "an SQL dump", "load it and export its table as CSV"),
)  # fmt: skip


class Content(NamedTuple):
    """How a file is to be read.

    Attributes:
        kind: What its rows are.
        newline: What ends its lines: a line feed, or a carriage return alone.
        foreign: What the file is and the way out, where it is nothing that is read.
    """

    kind: Kind
    newline: bytes = b"\n"
    foreign: str = ""


def content_of(path: Path, encoding: str | None = None) -> Content:
    """What the file at `path` holds.

    Args:
        path: A file that can be opened.
        encoding: Of its text, where it is stated.
    """
    raw = raw_head(path)
    foreign = _foreign(path, raw, stated=encoding is not None)
    if foreign:
        return Content("lines", foreign=foreign)
    if not is_packed(raw) and (kind := _binary(path, raw)) is not None:
        return Content(kind)
    head = _text_head(path, encoding)
    foreign = _foreign_text(path, head)
    kind = _text_kind(path, head)
    return Content(kind, _newline(head, kind), foreign)


def raw_head(path: Path) -> bytes:
    """The file's first bytes as they are on disk."""
    with path.open("rb") as stream:
        return stream.read(_HEAD_BYTES)


def is_zip(raw: bytes) -> bool:
    """Whether a file's first bytes are those of a zip archive, as an Excel workbook is one too."""
    return raw.startswith(_ZIP)


def is_divisible(raw: bytes) -> bool:
    """Whether a file with these first bytes can be cut between lines: its bytes are its text."""
    return not is_packed(raw) and not is_other_encoding(raw)


def _foreign(path: Path, raw: bytes, *, stated: bool) -> str:
    """The sentence on a file that is not read; empty where it is."""
    for place, mark, what, way_out in _FOREIGN:
        if raw.startswith(mark, place) and not (stated and "UTF-32" in what):
            return _told(path, what, way_out)
    if is_zip(raw):
        return _told(path, "a zip archive", _UNPACK)
    return ""


def _told(path: Path, what: str, way_out: str) -> str:
    return f"the file is {what}, which is not read; {way_out.replace('FILE', path.name)}"


def _binary(path: Path, raw: bytes) -> Kind | None:
    suffix = content_suffix(path)
    if raw.startswith(b"PAR1") or suffix == ".parquet":
        return "parquet"
    if raw.startswith(b"ARROW1") or suffix == ".arrow":
        return "arrow"
    return None


def _text_head(path: Path, encoding: str | None) -> bytes:
    """The first bytes of the text: decompressed, in UTF-8, without its mark; what there is of it where it breaks."""
    head = b""
    try:
        for chunk in utf8(read_bytes(path), encoding):
            head += chunk
            if len(head) >= _HEAD_BYTES:
                break
    except RowError:
        pass
    return head[:_HEAD_BYTES].removeprefix(_BOM)


def _foreign_text(path: Path, head: bytes) -> str:
    if head.startswith((b"PAR1", b"ARROW1")):
        return _told(path, "a compressed table", "decompress it first")
    if head.startswith(b"ustar", 257):
        return _told(path, "a compressed tar archive", "unpack it first: tar -xf FILE")
    for pattern, what, way_out in _FOREIGN_TEXTS:
        if re.match(pattern, head.lstrip(), re.IGNORECASE):
            return _told(path, what, way_out)
    return ""


def _text_kind(path: Path, head: bytes) -> Kind:
    suffix, begins = content_suffix(path), head.lstrip()
    if suffix in _SEPARATED and not re.match(rb'\{\s*"|\[\s*\{', begins):
        return "csv"
    if begins.startswith((b"{\n", b"{\r")):
        return "indented"
    if begins.startswith(b"["):
        # A damaged first byte must not turn a file of lines into one broken array.
        return "array" if suffix not in _LINES or _ends_array(path, begins) else "lines"
    return "csv" if _is_separated(begins) else "lines"


def _is_separated(begins: bytes) -> bool:
    """Whether a text whose name does not say so is CSV: a header with a delimiter, and no line that begins as JSON."""
    first, *more = [line.strip() for line in re.split(rb"[\r\n]+", begins) if line.strip()] or [b""]
    separated = re.search(rb"[,;\t]", first) is not None and re.search(rb"[{}]", first) is None
    return separated and bool(more) and not any(line.startswith((b"{", b"[")) for line in more)


def _ends_array(path: Path, begins: bytes) -> bool:
    """Whether a file of lines that begins with a bracket is one array over several lines."""
    first, *more = begins.split(b"\n", 1)
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _HEAD_BYTES))
        closed = stream.read().rstrip().endswith(b"]")
    return closed and bool(more) and bool(more[0].strip()) and not first.rstrip().endswith(b"]")


def _newline(head: bytes, kind: Kind) -> bytes:
    """What ends the lines; the breaks inside of quoted cells are none."""
    outside = re.sub(rb'"[^"]*(?:"|$)', b"", head) if kind == "csv" else head
    between = rb"\r" if kind == "csv" else rb"\}[ \t]*\r\s*\{"
    return b"\r" if b"\n" not in outside and re.search(between, outside) else b"\n"
