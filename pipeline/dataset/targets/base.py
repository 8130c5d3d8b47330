"""What a target is: rows to its lines, its limits, and how its files are used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..rows import Kind, Message, Pair, Rated


class CannotTakeError(Exception):
    """A row that a target cannot take.

    Attributes:
        reason: A code that is counted.
        detail: What it is about, for a reader of the rejects.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Line(NamedTuple):
    """A row in a target's format.

    Attributes:
        content: The JSON object.
        part: Which of the target's files of this kind it goes to; empty for the plain one.
    """

    content: dict[str, Any]
    part: str = ""


@dataclass(frozen=True)
class Limits:
    """What a target states of its files.

    Attributes:
        min_rows: Fewest rows of a training file.
        max_rows: Most rows of it; None where none is stated.
        max_held_out_rows: Most rows of a validation file.
        max_bytes: Most bytes of a file.
        long_row_bytes: Rows with more bytes than this may have more tokens than are taken: they are counted.
    """

    min_rows: int = 1
    max_rows: int | None = None
    max_held_out_rows: int | None = None
    max_bytes: int | None = None
    long_row_bytes: int | None = None


class Written(NamedTuple):
    """What was written, for the pages that go with it.

    Attributes:
        name: The run's name.
        rows: Rows by file name; files without rows are not there.
    """

    name: str
    rows: Mapping[str, int]

    def file(self, kind: Kind, split: str, part: str = "") -> str | None:
        """The name of a file; None where it has no rows."""
        name = file_name(kind, split, part)
        return name if name in self.rows else None


def file_name(kind: Kind, split: str, part: str = "") -> str:
    """The name of a file of JSON lines."""
    return f"{kind}_{part}_{split}.jsonl" if part else f"{kind}_{split}.jsonl"


def _said(answer: Message) -> Message:
    """What an answer says, without the ids that its calls were given."""
    called = answer.get("tool_calls") or []
    calls = [{k: v for k, v in call.items() if k != "id"} if isinstance(call, dict) else call for call in called]
    return {key: value for key, value in answer.items() if value and key != "tool_calls"} | {"tool_calls": calls}


def _nothing(_: Written) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Target:
    """Somebody who trains on preferences.

    Attributes:
        name: What `--for` calls it.
        title: Its name in full.
        usage: How the files are used, as Markdown.
        pair: A pair as a line, or raises `CannotTakeError`; None where no pairs are taken.
        rated: The same of an unpaired row.
        limits: Of its files.
        parts: Parts that its rows of a kind may go to beside the plain one.
        companions: Files beside the rows, by name.
    """

    name: str
    title: str
    usage: Callable[[Written], str]
    pair: Callable[[Pair], Line] | None = None
    rated: Callable[[Rated], Line] | None = None
    limits: Limits = field(default_factory=Limits)
    parts: tuple[str, ...] = ()
    companions: Callable[[Written], Mapping[str, str]] = _nothing

    def line(self, row: Pair | Rated) -> Line:
        """A row as a line.

        Raises:
            CannotTakeError: The target does not take rows of its kind, or not this one.
        """
        if isinstance(row, Pair):
            if self.pair is not None:
                if _said(row.chosen) == _said(row.rejected):
                    raise CannotTakeError("answers_alike", "the answers differ in nothing but the ids of their calls")
                return self.pair(row)
        elif self.rated is not None:
            return self.rated(row)
        raise CannotTakeError("kind", f"{self.title} takes no rows of this kind")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of rows that it takes."""
        taken: tuple[tuple[Kind, object], ...] = (("pairs", self.pair), ("unpaired", self.rated))
        return tuple(kind for kind, convert in taken if convert is not None)
