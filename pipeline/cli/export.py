"""The command `export`: a run's rows in the format of somebody else's trainer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import ConfigError
from .options import RunArgument
from .terminal import notes, out

# Imported from where they are defined, `thumbline --help` would wait for tables; a test holds them to be the same.
TARGET_NAMES: Final = (
    "trl, openai, together, fireworks, vertex, nova, sagemaker, nemo-rl, llama-factory, axolotl or ms-swift"
)


def export_command(
    run: RunArgument,
    target: Annotated[str, typer.Option("--for", metavar="TARGET", help=f"Who trains: {TARGET_NAMES}.")] = "trl",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; else export/TARGET in the run's.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Write the test split too.")] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="ID", help="Upload the data set and its card (--for trl), over those there.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="A data set made by --push-to-hub is not private.")] = False,
) -> None:
    """Write a run's pairs and unpaired rows in the files that a service or a trainer takes.

    Each target's limits are checked: rows that it cannot take are in `rejects.jsonl` with the reason, and README.md in
    the folder says how the files are used. Any run that has reached its splits will do, also that of `prepare`.
    """
    from .. import line
    from ..dataset.export import Push, export_run

    if public and push_to_hub is None:
        raise ConfigError("export: --public says something of what --push-to-hub makes; give that too, or neither.")
    config = line.open_run(run)
    push = None if push_to_hub is None else Push(push_to_hub, private=not public)
    written = export_run(config, target, output=output, test=test, push=push)
    for name, rows in written.rows.items():
        out.print(f"  {written.folder / name}  {rows:,} rows", markup=False, soft_wrap=True)
    print_left_out(written.rejected, written.folder / "rejects.jsonl")
    for note in written.notes:
        out.print(f"  {note}", style="yellow", markup=False, soft_wrap=True)
    if written.address is not None:
        out.print(f"Data set: {written.address}", markup=False, soft_wrap=True)
    out.print(f"How to use it: {written.folder / written.page}", markup=False, soft_wrap=True)


def print_left_out(reasons: Mapping[str, int], path: Path | str) -> None:
    """A line that counts the rows which were not written, where there are any."""
    if reasons:
        counted = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(reasons.items()))
        text = f"  rows not written: {sum(reasons.values()):,} ({counted}); see {path}"
        notes.print(text, style="yellow", markup=False, soft_wrap=True)
