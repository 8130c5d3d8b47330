"""Lines of a product log to columns, many at a time, where every line reads as the exact way would read it.

Each line is decoded once, into a type that allows only what the exact way reads without a second look: the fields of
the log and no others, each of its plain type, and texts where prompt and answer stand. What does not fit, and every
line that may hold a key twice, a NUL, a blank text, messages as text, an unknown label or an unusual time, goes the
exact way, one line at a time (`files.json_row`, `thumbs_jsonl.parse`). So the two ways cannot differ where it
matters, and `tests/property/test_fast_lines.py` holds them against each other.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ..importers.base import Batch, read_rows
from ..importers.shared import signals
from ..importers.shared.labels import label_key
from ..importers.shared.written import BEGINS
from ..importers.thumbs_jsonl import AROUND, SYSTEM, Layout, parse
from ..reading.files import json_row
from ..reading.records import Record, Reject
from ..reading.remarks import UNREAD, Remark, Remarks
from ..reading.streams import Line, LineBlock
from ..storage.columns import asked_messages
from ..tables import MESSAGES, TIME, VOTE

_Name = str | int | None
_Scalar = str | int | float | bool | None
_FIELD_TYPES: Final[dict[str, Any]] = {"prompt": str, "completion": str} | dict.fromkeys(
    ("vote", "created_at", *AROUND), str | None
)
IDENTIFIERS: Final = {"source_event_id": "event_id"} | {n: n for n in ("conversation_id", "user_id", "model")}
# Whitespace of Python, which decides what a blank text is.
NOT_BLANK: Final = r"[^\s\x1c-\x1f]"
_ISO_TIME: Final = (
    r"^(?:199[0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{3}|\.[0-9]{6})?(?:Z|[+]00:00)?$"
)
_TEXTS: Final = frozenset({str, type(None)})
_SECONDS_LENGTH: Final = 19
# So many rows are decoded before their fields are taken apart: those of a whole block are in no cache any more.
_ROWS_AT_ONCE: Final = 512
# A NUL or a colon.
_ESCAPED: Final = r"\\u00(?:00|3[aA])"
# Names that the decoder's types cannot have.
_NOT_RENAMED: Final = re.compile(r'[\\"\x00-\x1f]')

_EVENTS: Final = pl.Schema(
    {
        "source_line": pl.Int64(),
        "vote": VOTE,
        "created_at": TIME,
        "prompt": MESSAGES,
        "completion": pl.String(),
        **{name: pl.String() for name in IDENTIFIERS},
    }
)


class FastRows(NamedTuple):
    """The lines of one block.

    Attributes:
        events: Columns of the raw events that were read fast; `source_line` counts as the block does.
        rest: What the other lines gave.
        remarks: What else was seen of the rows in `events`.
    """

    events: pl.DataFrame
    rest: Batch
    remarks: Remarks


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
        self._columns = {
            name: fields.index(column)
            for name, column in layout.columns.items()
            if column in fields and name not in signals.COLUMNS
        }
        # Two fields of an event may be one column, and a row may be more than a vote: both go the exact way.
        needed = {name for name in layout.columns if name not in signals.COLUMNS}
        alone = needed == set(self._columns) and len(set(self._columns.values())) == len(self._columns)
        usable = alone and layout.watched.isdisjoint(fields)
        self._decode = _decoder(fields, self._columns) if usable else _refuse
        # By position: the columns whose values can be texts.
        self._getters = [_getter(index) for index in range(self._count)]
        read = set(self._columns.values())
        self._unread_fields = [(index, name) for index, name in enumerate(fields) if index not in read]

    def read(self, block: LineBlock) -> FastRows:
        """The events of a block, and what its other lines gave."""
        columns, slow = self._decoded(block)
        if len(slow) == len(block.lines):
            return FastRows(_EVENTS.to_frame(), self._exactly(block, slow), Remarks())
        indices = np.delete(np.arange(len(block.lines)), slow)
        fields = [_series(str(index), values) for index, values in enumerate(columns)]
        texts = _Texts(fields, len(indices))
        frame = self._frame(fields, texts, indices, block)
        good = frame["good"]
        slow.extend(indices[~good.to_numpy()].tolist())
        unread = self._unread(texts.filled(good), columns, good)
        return FastRows(self._events(frame.filter(good)), self._exactly(block, sorted(slow)), unread)

    def _decoded(self, block: LineBlock) -> tuple[list[list[Any]], list[int]]:
        """Columns of the usual rows, and the places in the block of all other lines."""
        columns: list[list[Any]] = [[] for _ in self._getters]
        slow: list[int] = []
        decode = self._decode
        for start in range(0, len(block.lines), _ROWS_AT_ONCE):
            rows: list[Any] = []
            for index, line in enumerate(block.lines[start : start + _ROWS_AT_ONCE], start):
                try:
                    rows.append(decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    slow.append(index)
            for column, getter in zip(columns, self._getters, strict=True):
                column.extend(map(getter, rows))
        return columns, slow

    def _frame(self, fields: list[pl.Series], texts: "_Texts", indices: np.ndarray, block: LineBlock) -> pl.DataFrame:
        """The fields that are read, what is made of them, and whether a row is `good`: needs no second look."""
        # All that decode are UTF-8. polars looks through them faster than Python does.
        lines = pl.Series(block.lines, dtype=pl.Binary).gather(indices).cast(pl.String)
        frame = pl.DataFrame(
            [
                *(fields[index] for index in sorted(set(self._columns.values()))),
                pl.Series("source_line", indices, dtype=pl.Int64) + block.first,
                texts.plain(lines).alias("plain"),
                pl.Series("usable", ~np.isin(indices, list(block.errors))),
            ]
        )
        votes = votes_of(frame[str(self._columns["vote"])], self._layout.votes)
        moment = iso_moment(self._field("created_at"))
        return frame.with_columns(votes, created_at=moment).with_columns(good=self._good())

    def _good(self) -> pl.Expr:
        blank = [~self._field(name).str.contains(NOT_BLANK) for name in ("prompt", "completion")]
        time = self._field("created_at")
        told = [self._field(name).str.contains(BEGINS) for name in ("prompt", "completion")]
        around = [self._field(name).str.contains(NOT_BLANK).fill_null(False) for name in AROUND if name != SYSTEM]
        odd_time = pl.col("created_at").is_null() & time.is_not_null() & (time != "")
        return pl.all_horizontal(
            "usable", "plain", pl.col("vote").is_not_null(), *(~bad for bad in (*blank, *told, *around, odd_time))
        )

    def _field(self, name: str) -> pl.Expr:
        """The log's column of an event's field."""
        return pl.col(str(self._columns[name])) if name in self._columns else pl.lit(None, dtype=pl.String)

    def _events(self, good: pl.DataFrame) -> pl.DataFrame:
        ids = {name: not_empty(self._field(field)) for name, field in IDENTIFIERS.items()}
        systems = good.select(system=pl.when(self._field(SYSTEM).str.contains(NOT_BLANK)).then(self._field(SYSTEM)))
        prompts = asked_messages(systems["system"], good[str(self._columns["prompt"])])
        return good.select(
            "source_line", "vote", "created_at", prompt=prompts, completion=self._field("completion"), **ids
        )

    def _unread(self, filled: np.ndarray, columns: list[list[Any]], good: pl.Series) -> Remarks:
        """The columns of text that make no part of an event, with the rows that have one."""
        counts = {name: _count_texts(columns[index], good, int(filled[index])) for index, name in self._unread_fields}
        return Remarks({Remark(UNREAD, name): count for name, count in counts.items() if count})

    def _exactly(self, block: LineBlock, indices: Sequence[int]) -> Batch:
        """What lines give that are read one at a time."""
        lines = [Line(block.first + index, block.lines[index], block.errors.get(index)) for index in indices]
        return exactly([row for line in lines if (row := json_row(line)) is not None], self._layout)


class _Texts:
    """All fields of all rows as one column of texts, a field after the other.

    A column each takes polars time for every column and every block, and wide rows have many of both.
    """

    def __init__(self, fields: list[pl.Series], rows: int) -> None:
        self._shape = (len(fields), rows)
        self._texts = pl.concat(fields) if len(fields) > 1 else fields[0]

    def filled(self, good: pl.Series) -> np.ndarray:
        """(fields,) how many of the good rows have a text that is not empty."""
        filled = self._by_field(self._texts.str.len_bytes() > 0)
        return np.asarray(filled[:, good.to_numpy()].sum(axis=1))

    def plain(self, lines: pl.Series) -> pl.Series:
        r"""(rows,) whether a line surely names each key once and holds no NUL.

        A line of n different keys that has no nested value has n colons and those of its texts: one more says that a
        key stands there twice. An escaped colon (`\u003a`) could make up for that one, so it is looked for; a NUL in
        a text can only be escaped.
        """
        in_texts = self._by_field(self._texts.str.count_matches(":", literal=True)).sum(axis=0)
        once = lines.str.count_matches(":", literal=True) == pl.Series(in_texts + self._shape[0])
        return once & ~lines.str.contains(_ESCAPED)

    def _by_field(self, values: pl.Series) -> np.ndarray:
        nothing = False if values.dtype == pl.Boolean else 0
        return values.fill_null(nothing).to_numpy().reshape(self._shape)


class _Given(NamedTuple):
    """Rows as a source of them."""

    given: list[Record | Reject]
    name: str = ""

    def rows(self) -> Iterator[Record | Reject]:
        return iter(self.given)


def exactly(rows: list[Record | Reject], layout: Layout) -> Batch:
    """What the importer itself makes of rows."""
    total, remarks = Batch([], [], 0), Remarks()
    for batch in read_rows(_Given(rows), lambda record: parse(record, layout)):
        total.events.extend(batch.events)
        total.rejects.extend(batch.rejects)
        remarks.update(batch.remarks)
    return total._replace(records=len(rows), remarks=remarks)


def _decoder(fields: list[str], columns: dict[str, int]) -> Callable[[bytes], Any]:
    """Decodes a line that has exactly these fields, none of them a list or an object."""
    if any(map(_NOT_RENAMED.search, fields)):
        return _refuse
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


def _series(name: str, values: list[Any]) -> pl.Series:
    """A field's values as texts; other values of Python as their digits, which hold no colon."""
    try:
        return pl.Series(name, values, dtype=pl.String)
    except (TypeError, OverflowError):  # of an integer that no integer type holds
        return pl.Series(name, [value if value is None else str(value) for value in values], dtype=pl.String)


def _count_texts(column: list[Any], good: pl.Series, filled: int) -> int:
    """How many of a field's good values, of which some are not empty, are texts that are not empty."""
    # Numbers stand there as digits; one look at the types tells whether there are any.
    if not filled or (kinds := set(map(type, values := list(compress(column, good))))) <= _TEXTS:
        return filled
    return sum(type(value) is str and value != "" for value in values) if str in kinds else 0


def not_empty(name: pl.Expr) -> pl.Expr:
    """The text; null where it is empty."""
    return pl.when(name.str.len_bytes() > 0).then(name)


def votes_of(labels: pl.Series, table: Mapping[str, str]) -> pl.Series:
    """Column `vote`; null where a label is not in the table, or says which side of a comparison the answer is."""
    distinct = labels.unique().to_list()
    votes = ["unrated" if label is None else table.get(label_key(label)) for label in distinct]
    # A side of a comparison takes more than a vote.
    votes = [None if vote in signals.COMPARED else vote for vote in votes]
    return labels.replace_strict(distinct, pl.Series(votes, dtype=VOTE), return_dtype=VOTE).alias("vote")


def iso_moment(text: pl.Expr) -> pl.Expr:
    """Times of the two usual shapes, whole seconds or with a fraction, in UTC; null where a text is of another."""
    usual = pl.when(text.str.contains(_ISO_TIME)).then(text)
    seconds = usual.str.head(_SECONDS_LENGTH).str.replace(" ", "T", literal=True)
    whole = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    fraction = usual.str.extract(r"\.([0-9]+)").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return (whole + pl.duration(microseconds=fraction)).cast(TIME)
