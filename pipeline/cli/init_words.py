"""What `thumbline init` shows of a log: how it is read, what each vote is taken for, and rows as they are read."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from rich.table import Table
from rich.text import Text

from ..ingest.reasons import Example
from ..reading.remarks import as_notes, in_words
from ..starting.profiles import shortened
from .terminal import out, plain, print_rows

if TYPE_CHECKING:
    from ..starting.amounts import Amounts, Method
    from ..starting.looking import Looked
    from ..starting.reading import SourceRead
    from .asking import Answers

_SHOWN_FILES: Final = 8
_SHOWN_REASONS: Final = 6
_SHOWN_ROWS: Final = 3
_TEXT: Final = 160
_MEANT: Final[Mapping[str, str]] = {
    "up": "a thumb up",
    "down": "a thumb down",
    "unrated": "no vote",
    "retracted": "a vote taken back",
    "first": "the first is better",
    "second": "the second is better",
    "tied": "neither is better",
    "": "not known: rejected",
}


def print_look(found: "Looked", answers: "Answers") -> None:
    """Everything that was seen and how it is taken."""
    _print_files(found)
    _print_options(found)
    _print_words(found, answers)
    _print_rejects(found)
    _print_rows(found)


def _print_files(found: "Looked") -> None:
    for source in found.sources[:_SHOWN_FILES]:
        _say(f"{source.name}: {_read(source)}")
    more = len(found.sources) - _SHOWN_FILES
    if more > 0:
        _say(f"and {more:,} more files like these")
    if found.files > len(found.sources):
        _say(f"{found.files - len(found.sources):,} of {found.files:,} files were not looked at; a run reads them all")
    for kind, files in found.skipped.items():
        _say(f"not read: {kind} {files:,}")


def _read(source: "SourceRead") -> str:
    if not source.format:
        return source.refusal.removeprefix(f"{source.name}: ")
    rows = f"{source.rows:,} rows" if source.whole else f"the first {source.rows:,} rows"
    gave = f"{source.events:,} events" + (f", {source.rejected:,} rejected" if source.rejected else "")
    return f"{source.holds}; format {source.format}; {rows}: {gave}"


def _print_options(found: "Looked") -> None:
    if not found.options:
        return
    out.print()
    print_rows(
        [
            {"option": name, "is": value or "(none)", "because": found.whys[name]}
            for name, value in found.options.items()
        ]
    )
    remarks = in_words(as_notes(found.read.remarks))
    for sentence in remarks:
        _say(sentence)


def _print_words(found: "Looked", answers: "Answers") -> None:
    if not found.words:
        return
    out.print()
    guessed = {entry.question.about.split(" (")[0] for entry in answers.given if entry.guessed}
    print_rows(
        [
            {
                "vote": word.shown,
                "rows": f"{word.rows:,}",
                "taken for": _MEANT.get(word.meaning, word.meaning) + (" (guessed)" if word.shown in guessed else ""),
            }
            for word in found.words
        ]
    )


def _print_rejects(found: "Looked") -> None:
    rejects = found.read.rejects
    if not len(rejects):
        return
    counted = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    firsts = {row["reason"]: row for row in rejects.unique("reason", keep="first", maintain_order=True).to_dicts()}
    out.print(f"\nRejected: {len(rejects):,} of the rows that were looked at.")
    if len(rejects) > len(found.read.events):
        _say("A run stops where more rows are rejected than events.most_rejected allows, which is half.")
    for reason, rows in counted.head(_SHOWN_REASONS).iter_rows():
        first = firsts[reason]
        told = Example(first["source_file"], first["source_line"], first["detail"]).told
        _say(f"  {reason} {rows:,}: {told}")


def _print_rows(found: "Looked") -> None:
    rows = shown_rows(found.read.events)
    if rows:
        out.print(f"\n{'Three rows' if len(rows) == _SHOWN_ROWS else 'Rows'} as they are read:")
    table = Table(box=None, pad_edge=False, show_header=False)
    for heading in ("number", "part"):
        table.add_column(heading, no_wrap=True)
    table.add_column("text", overflow="fold")
    for number, row in enumerate(rows, start=1):
        for place, (name, value) in enumerate(_parts(row)):
            table.add_row("" if place else f"  {number}", Text(name, style="dim"), Text(plain(value)))
    out.print(table)


def shown_rows(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Up to three events: one a kind of vote, then the first ones."""
    firsts = events.with_row_index("place").unique("vote", keep="first", maintain_order=True)
    rest = events.with_row_index("place").join(firsts.select("place"), on="place", how="anti")
    return pl.concat([firsts, rest]).head(_SHOWN_ROWS).sort("place").to_dicts()


def _parts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for message in row["prompt"][-2:]:
        yield message["role"], shortened(message["content"], _TEXT)
    yield "answer", shortened(row["completion"], _TEXT)
    moment = None if row["created_at"] is None else f"{row['created_at']:%Y-%m-%d %H:%M:%S} UTC"
    beside = {"user": row["user_id"], "model": row["model"], "time": moment, "id": row["source_event_id"]}
    said = [f"{name} {shortened(value, 32)}" for name, value in beside.items() if value is not None]
    yield "vote", ", ".join([_MEANT.get(row["vote"], row["vote"]), *said])


def print_method(amounts: "Amounts", method: "Method") -> None:
    """How much there is to train on, and the method that it suits."""
    users = f" by {amounts.users:,} users" if amounts.users else ""
    out.print()
    _say(f"Of the rows that were looked at: {amounts.answers:,} answers to {amounts.prompts:,} prompts{users}")
    _say(f"Method {method.name}: {method.why}")


def print_next(output: Path) -> None:
    """The commands to type next."""
    out.print()
    _say(f"Wrote {output}. Next:")
    written = shlex.quote(str(output))
    commands = {
        f"thumbline run {written} --until splits": "the rows, and why others were rejected",
        f"thumbline run {written} --dry-run": "what would run",
        f"thumbline plan {written} --memory 24": "what training takes on a GPU of 24 GB",
        f"thumbline run {written}": "train, evaluate, report",
    }
    for command, what in commands.items():
        _say(f"  {command:<44} # {what}")


def _say(sentence: str) -> None:
    out.print(sentence, markup=False, soft_wrap=True)
