"""The command `rejects`: rows that a run's stages set aside, by reason, as they were logged."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from . import completing
from .options import RunArgument
from .terminal import notes, only_document, out, plain_line, print_json

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from ..line import Rejected

_CELL_CHARACTERS: Final = 300


def rejects_command(
    run: RunArgument,
    stage: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="What this stage set aside alone.", autocompletion=completing.stages),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="REASON", help="What has this reason alone.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows shown of each reason.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the rows that a run's stages set aside, by reason, with what was logged.

    All of them lie in the tables that are named; of each reason the first rows are shown.
    """
    from .. import line

    with only_document(as_json):
        config = line.open_run(run)
        found = line.rejected(config.run_dir, stage=stage, reason=reason, limit=limit)
        untold = line.untold(config.run_dir, stage)
    if as_json:
        print_json({"run": config.place(), "rejected": [entry._asdict() for entry in found], "untold": untold})
        return
    if untold:
        notes.print(
            f"What {', '.join(untold)} set aside is not told: the manifest is gone, or tables that it read were "
            "replaced since. Run it again.",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if not found:
        out.print("No row was set aside.")
    for entry in found:
        _print(config.place(*entry.file.split("/")), entry)


def _print(where: str, entry: "Rejected") -> None:
    out.print(f"{entry.stage}  {entry.reason}  {_number(entry)}  ({where})", style="bold", markup=False, soft_wrap=True)
    if entry.advice:
        out.print(f"  {entry.advice}", style="yellow", markup=False, soft_wrap=True)
    for number, row in enumerate(entry.examples, start=1):
        for index, (name, value) in enumerate(_cells(row)):
            mark = f"{number}." if index == 0 else ""
            out.print(f"  {mark:<3} {name}: {value}", markup=False, soft_wrap=True)
    if entry.examples and len(entry.examples) < entry.rows:
        out.print(f"      and {entry.rows - len(entry.examples):,} more", soft_wrap=True)


def _number(entry: "Rejected") -> str:
    if entry.unit == "two answers":
        return f"{entry.rows:,} times {entry.unit}"
    return f"{entry.rows:,} {entry.unit}{'' if entry.rows == 1 else 's'}"


def _cells(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Place first, then what was there, each on a line of its own."""
    cells = dict(row)
    place = cells.pop("source_file", None)
    line = cells.pop("source_line", None)
    shown = [] if place is None else [("place", f"{place}, line {line:,}" if line else str(place))]
    return [*shown, *((name, _cut(value)) for name, value in cells.items() if value != "")]


def _cut(value: object) -> str:
    text = plain_line(value)
    return text if len(text) <= _CELL_CHARACTERS else f"{text[:_CELL_CHARACTERS]} ... ({len(text):,} characters)"
