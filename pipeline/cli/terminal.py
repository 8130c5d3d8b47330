"""How the commands look on a terminal: consoles, progress bars, tables of rows, and documents for programs."""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, ConsoleDimensions
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from ..hiding import shown_command
from ..progress import Progress, duration

if TYPE_CHECKING:
    # Tables and their schemas come with it, which `thumbline --help` should not wait for.
    from ..context import Advance

# What moves a terminal or turns its text around, and halves of characters, which names of files may hold and UTF-8
# cannot; names and messages come from files of others.
_NOT_PRINTED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# Longer than any line that is printed; a table into a pipe is as wide as its content.
_PIPED_COLUMNS: Final = 100_000
_PIPED_LINES: Final = 25
# Between two lines on long work, where no bar can move.
_BEAT_SECONDS: Final = 30.0


def plain(value: object) -> str:
    """Text with each control character as its code point, such as `[U+001B]`."""
    return _NOT_PRINTED.sub(lambda found: f"[U+{ord(found.group()):04X}]", str(value))


def plain_line(value: object) -> str:
    """As `plain`, and in one line: a name cannot look like rows of its own."""
    return plain(value).replace("\n", "[U+000A]")


class _PlainConsole(Console):
    """A console that prints texts as they are: no markup, no emoji by name, and control characters are only shown.

    Into a file or a pipe it is as wide as what it prints: nothing is folded there unless `COLUMNS` says how wide it is.
    """

    def __init__(self, **how: Any) -> None:
        """As rich's own."""
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **how})

    def render_str(self, text: str, **how: Any) -> Text:
        """As rich does, which calls it for each text that is printed, in cells of tables too."""
        return super().render_str(plain(text), **how)

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        if self._width is None and not self.is_terminal:
            return ConsoleDimensions(_PIPED_COLUMNS, _PIPED_LINES)
        return super().size

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


# What was asked for, and how a command ends.
out: Final = _PlainConsole()
# What a command tells of its work while it works: `--quiet` leaves it out.
notes: Final = _PlainConsole()
# Errors, warnings, progress.
err: Final = _PlainConsole(stderr=True)


@contextmanager
def only_document(wanted: bool = True) -> Iterator[None]:
    """While it is open, what people read goes to stderr: stdout is for one document of `print_json`.

    Args:
        wanted: Whether `--json` is given; without it nothing changes.
    """
    before = out.stderr, notes.stderr
    if wanted:
        out.stderr = notes.stderr = True
    try:
        yield
    finally:
        out.stderr, notes.stderr = before


def command_line() -> str:
    """The command as it was typed, without the secrets of its arguments."""
    return shown_command(["thumbline", *sys.argv[1:]])


class _SpeedColumn(ProgressColumn):
    """Units a second, of the last half minute."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


class ConsoleReporter:
    """Progress bars and notes on the terminal; into a file or a pipe, where no bar moves, a line every half minute."""

    def __init__(self, every_seconds: float = _BEAT_SECONDS) -> None:
        """Begin without a bar.

        Args:
            every_seconds: Between two lines into a file or a pipe.
        """
        self._every_seconds = every_seconds
        self._stage: str | None = None
        self._work: Progress | None = None
        self._note: Callable[[str], None] = lambda _: None
        self._beats = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around a stage, which may have no bar."""
        self._stage = name
        try:
            with self._heartbeat():
                yield
        finally:
            self._stage = None

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> "Iterator[Advance]":
        """A bar that vanishes when it is done: the stage's own line stays."""
        self._work = work = Progress(description, total, unit)
        try:
            with self._bar(work) if err.is_terminal and not notes.quiet else self._heartbeat() as bar:

                def advance(done: int) -> None:
                    work.advance(done)
                    if bar is not None:
                        bar(done)

                yield advance
        finally:
            self._work, self._note = None, lambda _: None

    @contextmanager
    def _bar(self, work: Progress) -> "Iterator[Advance]":
        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(work.unit, markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            _SpeedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        with Bars(*columns, console=err, transient=True) as bars:
            task = bars.add_task(plain_line(work.description), total=work.total, note="")
            self._note = lambda text: bars.update(task, note=plain_line(text))
            yield lambda done: bars.advance(task, done)

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Lines that say how far the work is, as long as it takes."""
        if self._beats or err.is_terminal or notes.quiet:
            yield
            return
        ended, began = threading.Event(), time.monotonic()

        def beat() -> None:
            while not ended.wait(self._every_seconds):
                err.print(f"  {self._words(time.monotonic() - began)}", markup=False, soft_wrap=True)

        self._beats, thread = True, threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._beats = False
            ended.set()
            thread.join()

    def _words(self, seconds: float) -> str:
        work = self._work
        return work.words(self._stage) if work is not None else f"{self._stage}, {duration(seconds)} so far"

    def note(self, text: str) -> None:
        """Words at the end of the bar's line."""
        if self._work is not None:
            self._work.note = text
        self._note(text)

    def say(self, message: str) -> None:
        """One line, unless the command is to be quiet."""
        if not notes.quiet:
            err.print(f"  {message}", style="yellow", markup=False, soft_wrap=True)


def print_rows(
    rows: Sequence[Mapping[str, object]], whole: tuple[str, ...] = (), console: Console | None = None
) -> None:
    """A table without lines, one column a key.

    Args:
        rows: Of equal keys.
        whole: Columns whose cells are never broken into lines.
        console: Where it goes; None: `out`.
    """
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    for row in rows:
        table.add_row(*(plain_line(value) for value in row.values()))
    (console or out).print(table)


def print_entries(entries: Iterable[tuple[str, str, str]]) -> None:
    """An entry each: its name and what it is in a line, its meaning below."""
    for name, what, meaning in entries:
        out.print(Text.assemble((plain(name), "bold"), f"  {plain(what)}"), soft_wrap=True)
        out.print(Padding(Text(plain(meaning)), (0, 0, 0, 4), expand=False))


def print_json(document: object) -> None:
    """One JSON document on stdout, where nothing else goes then.

    Numbers that are not finite are null, what JSON has no word for (paths, times) is text, and control characters are
    escaped: a terminal does not obey them.
    """
    written = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    sys.stdout.write(_NOT_PRINTED.sub(lambda found: f"\\u{ord(found.group()):04x}", written) + "\n")
    sys.stdout.flush()


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
