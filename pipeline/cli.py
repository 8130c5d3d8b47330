"""The `thumbline` command: arguments to settings to the line. The only module that prints."""

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.config import RunConfig, load_config
from pipeline.context import Advance
from pipeline.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    # Imported where it is used: the line loads every stage, which `thumbline --help` should not wait for.
    from pipeline import line as line_module

app = typer.Typer(
    help="Turn thumbs-up / thumbs-down logs into a preference-trained model, and prove that it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example `train.method=kto`. Repeatable."),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Hub id, local folder, or `demo` for the embedded SmolLM2-135M-Instruct.")
]


class ConsoleReporter:
    """Progress bars and notes on the terminal."""

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        """A bar that vanishes when it is done: the stage's own line stays."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=_err, transient=True) as bar:
            task = bar.add_task(description, total=total)
            yield lambda done: bar.advance(task, done)

    def say(self, message: str) -> None:
        """One line."""
        _err.print(f"  {message}", style="yellow", markup=False)


class _SayHandler(logging.Handler):
    """Our own modules' warnings, as lines of the command's output."""

    def emit(self, record: logging.LogRecord) -> None:
        _err.print(f"  {record.getMessage()}", style="yellow", markup=False)


@app.command("run")
def run_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    first: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="Run from this stage, again.")] = None,
    last: Annotated[str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")] = None,
    settings: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; run nothing.")] = False,
) -> None:
    """Run the whole line: logs to a trained model and a report.

    Stages whose inputs, settings and code have not changed are skipped; an interrupted run resumes.
    """
    from pipeline import line

    loaded = load_config(config, tuple(settings or ()))
    stages = line.select(first, last)
    planned = line.plan(loaded, stages, forced=first is not None)
    if dry_run:
        _print_plan(planned)
        return
    if all(entry.action == "skip" for entry in planned):
        _out.print(f"Nothing to do: all {len(planned)} stages of '{loaded.name}' are up to date.")
        _print_report_place(loaded)
        return
    _check_training(loaded)
    _run_line(loaded, stages, forced=first is not None)


def _run_line(loaded: RunConfig, stages: "tuple[line_module.Stage, ...]", *, forced: bool = False) -> None:
    from pipeline import line

    command = shlex.join(["thumbline", *sys.argv[1:]])
    for finished in line.run(loaded, stages, forced=forced, reporter=ConsoleReporter(), command=command):
        _print_stage(finished)
    _print_report_place(loaded)


def _check_training(config: RunConfig) -> None:
    """Say at once, not after an hour of scoring, that the method or its settings do not hold."""
    from losses.registry import loss_config

    try:
        loss_config(config.train.method, config.train.loss)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"train: {error}") from error


def _print_plan(planned: "list[line_module.Planned]") -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "would", "why"):
        table.add_column(heading)
    words = {"run": "run", "skip": "skip", "maybe": "run if its input changes"}
    for entry in planned:
        table.add_row(entry.stage.name, words[entry.action], entry.reason)
    _out.print(table)


def _print_stage(finished: "line_module.Finished") -> None:
    manifest = finished.manifest
    counts = manifest.counts
    if finished.action == "skipped":
        _out.print(f"{finished.stage.name:<10} up to date  [dim]{manifest.fingerprint[:8]}[/dim]")
        return
    parts = [f"{counts.rows_in:,} in", f"{counts.rows_out:,} out"]
    parts += [f"{counts.merged:,} merged"] if counts.merged else []
    parts += [f"{counts.rejected:,} rejected"] if counts.rejected else []
    text = ", ".join(parts)
    _out.print(
        f"{finished.stage.name:<10} {text:<58} {manifest.seconds:>8.1f} s  [dim]{manifest.fingerprint[:8]}[/dim]"
    )


def _print_report_place(config: RunConfig) -> None:
    report = config.run_dir / "report" / "report.html"
    if report.is_file():
        _out.print(f"Report: {report}")


@app.command("status")
def status_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its YAML file.", metavar="RUN")],
) -> None:
    """Show where each stage of a run stands."""
    from pipeline import line

    config = load_config(run) if run.suffix in {".yaml", ".yml"} else line.load_saved_config(run)
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("stage", "left"), ("state", "left"), ("why", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("in", "out", "merged", "rejected", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("finished")
    for entry in line.plan(config):
        row = line.read_stage(config, entry.stage)
        counts = [""] * 5
        if row is not None:
            numbers = (row.counts.rows_in, row.counts.rows_out, row.counts.merged, row.counts.rejected)
            counts = [*(f"{number:,}" for number in numbers), f"{row.seconds:.1f}"]
        reason = "" if entry.action == "skip" else entry.reason
        table.add_row(
            entry.stage.name, line.state(config, entry), reason, *counts, row.finished_at if row is not None else ""
        )
    _out.print(table)


@app.command("losses")
def losses_command() -> None:
    """List the training methods: what each needs and when to use it."""
    from losses.registry import describe

    rows = describe()
    _print_rows(rows)


@app.command("formats")
def formats_command() -> None:
    """List the log formats that can be read."""
    from pipeline.importers.registry import describe

    _print_rows([dict(zip(("format", "reads", "options"), row, strict=True)) for row in describe()])


@app.command("tables")
def tables_command(
    name: Annotated[str | None, typer.Argument(help="A table; none lists them all.", metavar="TABLE")] = None,
) -> None:
    """Show the tables of the line and the columns of one of them."""
    from pipeline.tables import TABLES, describe_table

    if name is None:
        _print_rows([{"table": table, "columns": ", ".join(schema.columns)} for table, schema in TABLES.items()])
        return
    _print_rows(describe_table(name))


def _print_rows(rows: list[dict[str, str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _out.print(table)


def _quiet_libraries() -> None:
    """Keep other libraries' chatter off the terminal; our own warnings are shown."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("pipeline").addHandler(_SayHandler())
    logging.getLogger("pipeline").propagate = False


def main() -> None:
    """Entry point: a user's mistake prints one message and exits with 1, never a traceback."""
    _quiet_libraries()
    try:
        app()
    except PipelineError as error:
        _err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        _err.print("Interrupted. Finished stages are kept; the same command resumes.")
        sys.exit(130)


if __name__ == "__main__":
    main()
