"""JSON lines of a target, a file a kind and split, beside the rows that it cannot take."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import polars as pl

from ..storage.files import atomic_file
from ..tables import SPLIT
from .rows import REASON, Kind, Pair, Place, Rated, decoded, placed_parts
from .targets.base import CannotTakeError, Target, file_name

REJECTS: Final = "rejects.jsonl"
FULL: Final = "file_is_full"
_LINE_ENDS: Final = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
LEFT_OUT: Final = {
    "empty_prompt": "no message of the prompt has text",
    "empty_answer": "an answer has neither text nor a tool call",
}


class Reject(NamedTuple):
    """A row that was not written: where it stands, and why not."""

    kind: Kind
    place: Place
    reason: str
    detail: str

    def line(self) -> dict[str, str]:
        """As a line of the rejects' file; it holds no text of the log."""
        return {
            "kind": self.kind,
            "split": self.place.split,
            "row_id": self.place.row_id,
            "prompt_id": self.place.prompt_id,
            "reason": self.reason,
            "detail": self.detail,
        }


class Lines(NamedTuple):
    """What was written.

    Attributes:
        rows: Rows by file name; files without rows are not there.
        rejected: Rows that were not written, by reason.
        long_rows: Rows that may have more tokens than the target takes.
        weighted: Rows with a weight other than 1, which no line holds.
    """

    rows: Mapping[str, int]
    rejected: Mapping[str, int]
    long_rows: int
    weighted: int


def write_lines(run_dir: Path, folder: Path, target: Target, splits: pl.DataFrame, wanted: Sequence[str]) -> Lines:
    """Write the rows of a run for a target, in the order of its tables.

    Args:
        run_dir: A run that has reached its splits.
        folder: Where the files go.
        target: Whose format.
        splits: Split by prompt.
        wanted: Splits that are written.
    """
    with ExitStack() as open_files:
        writing = _Writing(folder, target, open_files)
        for kind in target.kinds:
            for part in placed_parts(run_dir, kind, splits, wanted):
                _write_part(writing, kind, part)
        written = Lines(dict(writing.rows), dict(writing.rejected), writing.long_rows, writing.weighted)
    _remove_stale(folder, target, written.rows)
    return written


def _write_part(writing: "_Writing", kind: Kind, part: pl.DataFrame) -> None:
    left_out = part[REASON].to_list()
    if "weight" in part.columns:
        writing.weighted += int((part["weight"] != 1.0).sum())
    for why, (place, row) in zip(left_out, decoded(part, kind), strict=True):
        if why is None:
            writing.take(kind, place, row)
        else:
            writing.reject(Reject(kind, place, why, LEFT_OUT[why]))


class _Writing:
    """Files while they grow, each opened with its first row."""

    def __init__(self, folder: Path, target: Target, open_files: ExitStack) -> None:
        self.rows: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.long_rows = self.weighted = 0
        self._folder, self._target, self._open_files = folder, target, open_files
        self._bytes: Counter[str] = Counter()
        self._files: dict[str, BinaryIO] = {REJECTS: self._opened(REJECTS)}

    def take(self, kind: Kind, place: Place, row: Pair | Rated) -> None:
        """Write a row, or say why it cannot be taken."""
        try:
            line = self._target.line(row)
        except CannotTakeError as error:
            self.reject(Reject(kind, place, error.reason, error.detail))
            return
        text = json_line(line.content)
        name = file_name(kind, place.split, line.part)
        if full := self._fullness(name, place.split, len(text)):
            self.reject(Reject(kind, place, FULL, full))
            return
        self._put(name, text)
        self.rows[name] += 1
        self.long_rows += len(text) > (self._target.limits.long_row_bytes or len(text))

    def reject(self, reject: Reject) -> None:
        """Write a row that is not taken to the rejects."""
        self.rejected[reject.reason] += 1
        self._put(REJECTS, json_line(reject.line()))

    def _fullness(self, name: str, split: str, size: int) -> str:
        """Why a file takes no row of `size` bytes any more; empty where it does."""
        limits = self._target.limits
        most = limits.max_rows if split == "train" else limits.max_held_out_rows
        if most is not None and self.rows[name] >= most:
            return f"{name} has the {most:,} rows that are taken"
        if limits.max_bytes is not None and self._bytes[name] + size > limits.max_bytes:
            return f"{name} has reached the {limits.max_bytes:,} bytes that are taken"
        return ""

    def _put(self, name: str, text: bytes) -> None:
        if name not in self._files:
            self._files[name] = self._opened(name)
        self._files[name].write(text)
        self._bytes[name] += len(text)

    def _opened(self, name: str) -> BinaryIO:
        # Closed before it takes its name: the stack ends what was entered last first.
        path = self._open_files.enter_context(atomic_file(self._folder / name))
        return self._open_files.enter_context(path.open("wb"))


def json_line(content: Mapping[str, Any]) -> bytes:
    """An object as a line of UTF-8 that every reader takes for one: what some break lines at is written escaped."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _LINE_ENDS.items():
        text = text.replace(character, escape)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair, which UTF-8 does not have.
        return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _remove_stale(folder: Path, target: Target, rows: Mapping[str, int]) -> None:
    """Remove the rows of an export before this one whose files have none now."""
    for kind, split, part in product(target.kinds, SPLIT.categories, ("", *target.parts)):
        name = file_name(kind, split, part)
        if name not in rows:
            (folder / name).unlink(missing_ok=True)
