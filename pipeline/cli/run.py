"""The commands that run stages: `run`, `status`, and on somebody's own files `prepare` and `train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ..api.settings import LAST_STAGE_OF, NO_MODEL, run_config
from ..config import RunConfig, load_config
from ..errors import InputError
from .export import print_left_out
from .options import ModelOption, OutputOption
from .terminal import ConsoleReporter, command_line, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import line as line_module
    from ..storage.manifests import Manifest

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example `train.method=kto`. Repeatable."),
]


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
    from .. import line
    from ..judges.registry import check_judges
    from ..training.methods import check_training

    loaded = load_config(config, tuple(settings or ()))
    stages = line.select(first, last)
    planned = line.plan(loaded, stages, forced=first is not None)
    if dry_run:
        print_plan(planned)
        return
    if all(entry.action == "skip" for entry in planned):
        out.print(f"Nothing to do: all {len(planned)} stages of '{loaded.name}' are up to date.")
        _print_report_path(loaded)
        return
    check_training(loaded)
    check_judges(loaded.judges)
    _run_line(loaded, stages, forced=first is not None)


def _run_line(loaded: RunConfig, stages: "tuple[line_module.Stage, ...]", *, forced: bool = False) -> None:
    from .. import line

    for finished in line.run(loaded, stages, forced=forced, reporter=ConsoleReporter(), command=command_line()):
        print_stage(finished)
    _print_report_path(loaded)


def print_plan(planned: "list[line_module.Planned]") -> None:
    """What would happen to each stage, and why."""
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "would", "why"):
        table.add_column(heading)
    words = {"run": "run", "skip": "skip", "maybe": "run if its input changes"}
    for entry in planned:
        table.add_row(entry.stage.name, words[entry.action], entry.reason)
    out.print(table)


def print_stage(finished: "line_module.Finished") -> None:
    """What happened to a stage, in a line, and what a person should read of it."""
    from ..line import stage_lines

    manifest = finished.manifest
    counts = manifest.counts
    if finished.action != "ran":
        what = {"skipped": "up to date", "taken": "taken from a run that has done the same"}[finished.action]
        out.print(Text.assemble(f"{finished.stage.name:<10} {what}  ", (manifest.fingerprint[:8], "dim")))
        return
    gave = "" if counts.given == counts.rows_in else f" (gave {counts.given:,})"
    parts = [f"{counts.rows_in:,} in{gave}", f"{counts.rows_out:,} out"]
    parts += [f"{counts.merged:,} merged"] if counts.merged else []
    parts += [f"{counts.rejected:,} rejected"] if counts.rejected else []
    text = ", ".join(parts) + "".join(_made(*entry) for entry in counts.made.items())
    line = f"{finished.stage.name:<10} {text:<58} {manifest.seconds:>8.1f} s  "
    out.print(Text.assemble(line, (manifest.fingerprint[:8], "dim")), soft_wrap=True)
    for sentence in stage_lines(manifest, brief=finished.stops):
        out.print(f"{'':<10} {sentence}", style="yellow", markup=False, soft_wrap=True)


def _made(name: str, made: int) -> str:
    return f"; {made:,} {name.removesuffix('s') if made == 1 else name}"


def _print_report_path(config: RunConfig) -> None:
    report = config.run_dir / "report" / "report.html"
    if report.is_file():
        out.print(f"Report: {report}")


def status_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its YAML file.", metavar="RUN")],
) -> None:
    """Show where each stage of a run stands."""
    from .. import line

    config = load_config(run) if run.suffix in {".yaml", ".yml"} else line.load_saved_config(run)
    planned = [(entry, line.read_stage(config, entry.stage)) for entry in line.plan(config)]
    several = any(row is not None and row.counts.given != row.counts.rows_in for _, row in planned)
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "state", "why"):
        table.add_column(heading)
    for heading in ("in", *(["gave"] if several else []), "out", "merged", "rejected", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("finished")
    for entry, row in planned:
        reason = "" if entry.action == "skip" else entry.reason
        counted = () if row is None else _counted(row, several=several)
        table.add_row(entry.stage.name, line.state(config, entry), reason, *counted)
    out.print(table)
    for entry, row in planned:
        for sentence in () if row is None else line.stage_lines(row):
            out.print(f"{entry.stage.name}: {sentence}", markup=False, soft_wrap=True)


def _counted(row: "Manifest", *, several: bool) -> list[str]:
    """What became of a stage's rows, its seconds, and when it ended; what its rows gave where that is a column."""
    counts = row.counts
    gave = [counts.given] if several else []
    numbers = [counts.rows_in, *gave, counts.rows_out, counts.merged, counts.rejected]
    return [*(f"{number:,}" for number in numbers), f"{row.seconds:.1f}", row.finished_at]


def prepare_command(
    inputs: Annotated[list[str], typer.Argument(help="Logs: files, folders, globs, or hub:ID.", metavar="LOGS...")],
    output: OutputOption,
    log_format: Annotated[str, typer.Option("--format", "-f", help="A name of `thumbline formats`.")] = "auto",
    settings: SetOption = None,
) -> None:
    """Turn logs into unpaired rows, pairs and splits.

    Tables land in the output folder, one folder a stage; `dataset/` in it holds them by split with a card, as TRL,
    `datasets` and the hub read them; data_report.html shows what became of the log.
    """
    from .. import line
    from ..dataset import export_dataset, write_report

    loaded = run_config(inputs, output, NO_MODEL, settings or (), events={"format": log_format})
    try:
        _run_line(loaded, line.select(None, LAST_STAGE_OF["prepare"]))
    except InputError:
        # What was read is shown all the same: why it was of no use stands there.
        if line.read_stage(loaded, line.stage_named("events")) is not None:
            page = output / write_report(loaded, command_line())
            out.print(f"Data report: {page}", markup=False, soft_wrap=True)
        raise
    exported = export_dataset(loaded, command_line())
    for name, rows in exported.rows.items():
        out.print(f"  {output / name}  {rows:,} rows")
    print_left_out(exported.left_out, output / "dataset" / "rejects.jsonl")
    out.print(f"  {output / exported.card}  card of the data set")
    out.print(f"Data report: {output / exported.report}")


def train_command(
    inputs: Annotated[list[str], typer.Argument(help="Rows in TRL's layouts, or logs.", metavar="ROWS...")],
    output: OutputOption,
    model: ModelOption,
    method: Annotated[str, typer.Option(help="A name of `thumbline losses`.")] = "dpo",
    settings: SetOption = None,
) -> None:
    """Train a model on rows or logs; the model lands in OUTPUT/train/model.

    Nothing is held out for a test here: use `thumbline run` to train and evaluate.
    """
    from .. import line
    from ..training.methods import check_training

    loaded = run_config(
        inputs, output, model, settings or (), splits={"test": 0.0}, train={"method": method}, pairs={"min_margin": 0.0}
    )
    check_training(loaded)
    _run_line(loaded, line.select(None, LAST_STAGE_OF["train"]))
    out.print(f"Model: {loaded.run_dir / 'train' / 'model'}")
