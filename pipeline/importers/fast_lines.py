"""Lines of a product log to columns, many at a time, where every line reads as the exact way would read it.

Each line is decoded once, into a type that allows only what the exact way reads without a second look: the fields of
the log and no others, each of its plain type, and texts where prompt and answer stand. What does not fit, and every
line that may hold a key twice, a NUL, a blank text, an unknown label or an unusual time, goes the exact way, one line
at a time (`files.json_row`, `thumbs_jsonl.parse`). So the two ways cannot differ where it matters, and
`tests/property/test_fast_lines.py` holds them against each other.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.importers import values
from pipeline.importers.base import Batch, Reject, RowError, reject
from pipeline.importers.files import json_row
from pipeline.importers.streams import Line, LineBlock
from pipeline.importers.thumbs_jsonl import Layout, parse
from pipeline.tables import MESSAGES, TIME, VOTE

_Name = str | int | None
_Scalar = str | int | float | bool | None
_FIELD_TYPES: Final[dict[str, Any]] = {"prompt": str, "completion": str, "vote": str | None, "created_at": str | None}
_IDENTIFIERS: Final = {"source_event_id": "event_id"} | {n: n for n in ("conversation_id", "user_id", "model")}
# Whitespace of Python, which decides what a blank text is.
_NOT_BLANK: Final = r"[^\s\x1c-\x1f]"
_ISO_TIME: Final = (
    r"^(?:199[0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{3}|\.[0-9]{6})?(?:Z|[+]00:00)?$"
)
_SECONDS_LENGTH: Final = 19


class FastRows(NamedTuple):
    """The lines of one block.

    Attributes:
        events: Columns of the raw events that were read fast; `source_line` counts as the block does.
        rest: What the other lines gave.
    """

    events: pl.DataFrame
    rest: Batch


class LineReader:
    """Reads blocks of lines of one log."""

    def __init__(self, layout: Layout, fields: list[str]) -> None:
        """Make the type of a usual line.

        Args:
            layout: The log's columns, labels and unit of time.
            fields: The fields of a usual line.
        """
        self._layout = layout
        self._count = len(fields)
        self._columns = {name: fields.index(column) for name, column in layout.columns.items() if column in fields}
        # Two fields of an event may be one column of the log: then every line goes the exact way.
        usable = set(self._columns) == set(layout.columns) and len(set(self._columns.values())) == len(self._columns)
        self._decode = _decoder(fields, self._columns) if usable else _refuse
        # By position: the columns whose values can be texts.
        self._getters = [_getter(index) for index in range(self._count)]
        self._votes = {label: VOTE.categories.to_list().index(vote) for label, vote in layout.votes.items()}

    def read(self, block: LineBlock) -> FastRows:
        """The events of a block, and what its other lines gave."""
        rows, places, slow = self._decoded(block)
        texts = {index: [getter(row) for row in rows] for index, getter in enumerate(self._getters)} if rows else {}
        frame = self._frame(texts, places, block)
        good = frame.filter("good").drop("good")
        slow.extend(frame.filter(~pl.col("good"))["source_line"] - block.first)
        return FastRows(good, self._exactly(block, sorted(slow)))

    def _decoded(self, block: LineBlock) -> tuple[list[Any], list[int], list[int]]:
        """Usual rows, their places in the block, and the places of all other lines."""
        rows: list[Any] = []
        places: list[int] = []
        slow: list[int] = []
        decode = self._decode
        for place, line in enumerate(block.lines):
            try:
                rows.append(decode(line))
                places.append(place)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                slow.append(place)
        return rows, places, slow

    def _frame(self, texts: dict[int, list[Any]], places: list[int], block: LineBlock) -> pl.DataFrame:
        """Raw-event columns of the decoded rows, and whether a row is `good`: not one that needs a second look."""
        lines = [block.lines[place] for place in places]
        series = {index: _series(found) for index, found in texts.items()}
        nothing = pl.Series([None] * len(places), dtype=pl.String)
        columns = {name: series.get(index, nothing) for name, index in self._columns.items()}
        frame = pl.DataFrame(
            {
                "source_line": pl.Series(places, dtype=pl.Int64) + block.first,
                **{name: _names(columns.get(field, nothing)) for name, field in _IDENTIFIERS.items()},
                "text": columns["prompt"],
                "completion": columns["completion"],
                "vote": _votes(columns["vote"].to_list(), self._votes),
                "time": columns.get("created_at", nothing),
                "plain": _plain(lines, list(series.values()), self._count),
                "usable": [place not in block.errors for place in places] if block.errors else [True] * len(places),
            }
        )
        moment = _moment(pl.col("time"))
        good = (
            pl.col("plain", "usable"),
            pl.col("vote").is_not_null(),
            pl.col("text", "completion").str.contains(_NOT_BLANK),
            moment.is_not_null() | pl.col("time").is_null() | (pl.col("time") == ""),
        )
        checked = frame.with_columns(
            pl.col(*_IDENTIFIERS).replace("", None), created_at=moment, good=pl.all_horizontal(*good)
        )
        return checked.with_columns(user_message(checked["text"])).drop("plain", "usable", "time", "text")

    def _exactly(self, block: LineBlock, places: Sequence[int]) -> Batch:
        """What lines give that are read one at a time."""
        found = Batch([], [], 0)
        for place in places:
            row = json_row(Line(block.first + place, block.lines[place], block.errors.get(place)))
            if row is None:
                continue
            found = found._replace(records=found.records + 1)
            if isinstance(row, Reject):
                found.rejects.append(row)
                continue
            try:
                found.events.append(parse(row, self._layout))
            except RowError as error:
                found.rejects.append(reject(row, error))
        return found


def _decoder(fields: list[str], columns: dict[str, int]) -> Callable[[bytes], Any]:
    """Decodes a line that has exactly these fields, none of them a list or an object."""
    names = {index: name for name, index in columns.items()}
    members = [
        (f"f{index}", _FIELD_TYPES.get(names[index], _Name) if index in names else _Scalar)
        for index in range(len(fields))
    ]
    rename = {f"f{index}": field for index, field in enumerate(fields)}
    kind = msgspec.defstruct("Row", members, rename=rename, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(kind).decode


def _refuse(_: bytes) -> Any:
    raise msgspec.DecodeError("every line goes the exact way")


def _getter(index: int) -> Callable[[Any], Any]:
    return attrgetter(f"f{index}")


def _series(found: list[Any]) -> pl.Series:
    """The values as texts where they all are, or as objects of Python."""
    try:
        return pl.Series(found, dtype=pl.String)
    except TypeError:
        return pl.Series(found, dtype=pl.Object)


def _names(found: pl.Series) -> pl.Series:
    """Ids and names as texts; whole numbers as their digits."""
    if found.dtype == pl.String:
        return found
    return pl.Series([str(name) if isinstance(name, int) else name for name in found], dtype=pl.String)


def _votes(labels: list[str | None], table: dict[str, int]) -> pl.Series:
    """Votes of labels; null where a label is not known."""
    unrated = VOTE.categories.to_list().index("unrated")
    codes: dict[str | None, int | None] = {label: table.get(str(label).strip().lower()) for label in set(labels)}
    codes[None] = unrated
    return pl.Series([codes[label] for label in labels], dtype=pl.UInt8).cat.to(VOTE)


def _plain(lines: list[bytes], columns: list[pl.Series], count: int) -> pl.Series:
    r"""Whether a line surely names each key once and holds no NUL.

    A line of `count` different keys that has no nested value has `count` colons and those of its texts: one more
    says that a key stands there twice. An escaped colon (`\u003a`) could make up for that one, so it is looked for.
    """
    raw = pl.Series(lines, dtype=pl.Binary)
    colons = pl.Series(_colons(lines), dtype=pl.Int64) - count
    plain = ~raw.bin.contains(b"\\u003")
    for column in columns:
        texts = column if column.dtype == pl.String else _only_texts(column)
        colons = colons - texts.str.count_matches(":", literal=True).fill_null(0)
        plain = plain & ~texts.str.contains("\x00", literal=True).fill_null(False)
    return plain & (colons == 0)


def _only_texts(found: pl.Series) -> pl.Series:
    return pl.Series([value if isinstance(value, str) else None for value in found], dtype=pl.String)


def _colons(lines: list[bytes]) -> np.ndarray:
    """(lines,) int64: how many colons each line has."""
    places = np.flatnonzero(np.frombuffer(b"\n".join(lines), dtype=np.uint8) == ord(":"))
    ends = np.cumsum(np.fromiter(map(len, lines), dtype=np.int64, count=len(lines)) + 1)
    return np.diff(np.searchsorted(places, ends), prepend=0)


def _moment(text: pl.Expr) -> pl.Expr:
    """Times of the two usual shapes, whole seconds or with a fraction, in UTC; null where a text is of another."""
    usual = pl.when(text.str.contains(_ISO_TIME)).then(text)
    seconds = usual.str.head(_SECONDS_LENGTH).str.replace(" ", "T", literal=True)
    whole = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    fraction = usual.str.extract(r"\.([0-9]+)").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return (whole + pl.duration(microseconds=fraction)).cast(TIME)


def user_message(text: pl.Series) -> pl.Series:
    """Column `prompt`: each text as a list of one user message."""
    contents = text.to_arrow(compat_level=pl.CompatLevel.oldest())
    roles = pa.DictionaryArray.from_arrays(pa.array([0] * len(text), pa.int32()), pa.array(["user"], pa.large_string()))
    messages = pa.StructArray.from_arrays([roles.cast(pa.large_string()), contents], ["role", "content"])
    lists = pa.LargeListArray.from_arrays(pa.array(range(len(text) + 1), pa.int64()), messages)
    return pl.Series("prompt", lists, dtype=MESSAGES)

