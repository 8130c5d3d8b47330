"""How the commands look on a terminal: consoles, progress bars and tables of rows."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    # Tables and their schemas come with it, which `thumbline --help` should not wait for.
    from ..context import Advance

# What moves a terminal or turns its text around; names and messages come from files of others.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(value: object) -> str:
    """Text with each control character as its code point, such as `[U+001B]`."""
    return _CONTROLS.sub(lambda found: f"[U+{ord(found.group()):04X}]", str(value))


class _PlainConsole(Console):
    """A console that shows control characters in texts, and does not obey them."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich prints."""
        super().print(*(plain(one) if isinstance(one, str) else one for one in objects), **how)


out: Final = _PlainConsole(highlight=False)
err: Final = _PlainConsole(stderr=True, highlight=False)


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["thumbline", *sys.argv[1:]])


class _SpeedColumn(ProgressColumn):
    """Units a second, of the last half minute."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


class ConsoleReporter:
    """Progress bars and notes on the terminal."""

    def __init__(self) -> None:
        """Begin without a bar."""
        self._note: Callable[[str], None] = lambda _: None

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> "Iterator[Advance]":
        """A bar that vanishes when it is done: the stage's own line stays."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            _SpeedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(description, total=total, note="")
            self._note = lambda text: bar.update(task, note=text)
            yield lambda done: bar.advance(task, done)

    def note(self, text: str) -> None:
        """Words at the end of the bar's line."""
        self._note(text)

    def say(self, message: str) -> None:
        """One line."""
        err.print(f"  {message}", style="yellow", markup=False, soft_wrap=True)


def print_rows(rows: Sequence[Mapping[str, object]], whole: tuple[str, ...] = ()) -> None:
    """A table without lines, one column a key; cells of the columns in `whole` are never broken into lines."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    for row in rows:
        # As `Text`: brackets of a name are no markup.
        table.add_row(*(Text(plain(value)) for value in row.values()))
    out.print(table)
