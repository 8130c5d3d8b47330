"""What is seen of rows beside their events and rejects: counted by kind, and said where a person looks.

A row that was read can still hold what was not: a column of text that no one asked for, a field that says nothing that
can be used. Whatever reads a row may say so at any depth by `remark`; whoever reads rows in batches opens a list for
each and counts it where the row gave an event. A row that gave none is in the rejects, with its reason.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

UNREAD: Final = "unread_column"
IMPLICIT: Final = "implicit_prompt"
WITHOUT_HISTORY: Final = "prompt_without_history"
LINE_BREAKS_LOST: Final = "line_breaks_lost"
UNREADABLE: Final = "unreadable_field"
TOLD_UNIT: Final = "told_time_unit"
NOT_A_NUMBER: Final = "not_a_number"
MESSAGE_KEY: Final = "message_key"
# Kind to what is said of it; the names and counts follow.
KINDS: Final[Mapping[str, str]] = {
    UNREAD: "columns of text that were not read",
    IMPLICIT: "prompts taken from the common beginning of two texts",
    WITHOUT_HISTORY: "prompts that are one message, since the export holds none before it",
    LINE_BREAKS_LOST: "texts whose line breaks the export made spaces; its JSON keeps them",
    UNREADABLE: "optional fields that were left empty, since they could not be read",
    TOLD_UNIT: "numbers taken as times since 1970, their unit told by their size",
    NOT_A_NUMBER: "NaN or Infinity taken as null",
    MESSAGE_KEY: "keys of messages that were not read",
}
_SHOWN: Final = 12
_SHOWN_CHARACTERS: Final = 60


class Remark(NamedTuple):
    """One thing that was seen in one row.

    Attributes:
        kind: A key of `KINDS`.
        what: Name of the column or field; never a text of the row's.
    """

    kind: str
    what: str


Remarks = Counter[Remark]
_OPEN: Final[ContextVar[list[Remark] | None]] = ContextVar("remarks_of_row", default=None)


def remark(kind: str, what: str) -> None:
    """Say something of the row that is being read; nothing happens where none is.

    Args:
        kind: A key of `KINDS`.
        what: Name of the column or field.
    """
    seen = _OPEN.get()
    if seen is not None:
        seen.append(Remark(kind, what))


@contextmanager
def remarking() -> Iterator[list[Remark]]:
    """The list that takes what is said of one row while the block runs."""
    seen: list[Remark] = []
    token = _OPEN.set(seen)
    try:
        yield seen
    finally:
        _OPEN.reset(token)


class ReadRow(dict[str, Any]):
    """A row that knows which of its columns were asked for; whoever goes through its values asks for all of them."""

    __slots__ = ("asked", "names")

    def __init__(
        self, row: Mapping[str, Any], asked: set[str] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Take a row's columns.

        Args:
            row: The row.
            asked: Where the names go; several rows may share it.
            names: The log's own name of a column that has another one here.
        """
        super().__init__(row)
        self.asked: set[str] = set() if asked is None else asked
        self.names: Mapping[str, str] = {} if names is None else names

    def __getitem__(self, name: str) -> Any:
        """The column's value."""
        self._ask(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The column's value, or the default."""
        self._ask(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """The column's value, which is taken out."""
        self._ask(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        """The names; with a method of its own Python copies a row by `keys` and `[]`, which are seen."""
        return super().__iter__()

    def items(self) -> Any:
        """Names and values, all of which count as asked for."""
        self._ask(*self.keys())
        return super().items()

    def values(self) -> Any:
        """The values, all of which count as asked for."""
        self._ask(*self.keys())
        return super().values()

    def _ask(self, *names: str) -> None:
        self.asked.update(self.names.get(name, name) for name in names)


def remade(row: Mapping[str, Any], made: Callable[[str, Any], tuple[str, Any]]) -> dict[str, Any]:
    """A row with other names or values, which asks for none of them; what is asked of it is asked of `row`.

    Args:
        row: The row.
        made: (name, value) to the new name and value.
    """
    entries = {name: made(name, value) for name, value in _entries(row)}
    fields = dict(entries.values())
    if not isinstance(row, ReadRow):
        return fields
    return ReadRow(fields, row.asked, {new: name for name, (new, _) in entries.items() if new != name})


def _entries(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Names and values of a row, none of them asked for."""
    return dict.items(row) if isinstance(row, dict) else row.items()


def text_columns(row: Mapping[str, Any]) -> list[str]:
    """Columns of a row that hold text: one that is not empty, or a list or an object with one in it."""
    return [name for name, value in _entries(row) if holds_text(value)]


def holds_text(value: object) -> bool:
    """Whether a value is a text that is not empty, or has one in it."""
    if isinstance(value, str):
        return value != ""
    if isinstance(value, dict):
        return any(map(holds_text, value.values()))
    return isinstance(value, list) and any(map(holds_text, value))


def unread(row: ReadRow) -> list[Remark]:
    """A remark for each column of text that nobody asked for."""
    return [
        Remark(UNREAD, name) for name in dict.keys(row) if name not in row.asked and holds_text(dict.get(row, name))
    ]


def as_notes(remarks: Mapping[Remark, int]) -> dict[str, dict[str, int]]:
    """Rows by kind and name, as JSON holds them."""
    notes: dict[str, dict[str, int]] = {}
    for seen, rows in sorted(remarks.items()):
        notes.setdefault(seen.kind, {})[seen.what] = rows
    return notes


def in_words(notes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence a kind, such as `columns of text that were not read: source (300 rows), topic (12 rows)`."""
    return [f"{KINDS.get(kind, kind)}: {_named(counts)}" for kind, counts in sorted(notes.items()) if counts]


def _named(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{_cut(name)} ({rows:,} {'row' if rows == 1 else 'rows'})" for name, rows in ordered[:_SHOWN])
    return shown if len(ordered) <= _SHOWN else f"{shown}, and {len(ordered) - _SHOWN:,} more"


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[: _SHOWN_CHARACTERS - 1]}…"
