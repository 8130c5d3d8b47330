"""The commands that run stages: `run`, and on somebody's own files `prepare` and `train`."""

import shlex
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from ..api.settings import LAST_STAGE_OF, NO_MODEL, run_config
from ..config import RunConfig
from ..errors import InputError
from ..hiding import without_secrets
from . import completing
from .documents import JsonOption, run_document
from .export import print_left_out
from .options import ModelOption, PlaceOption
from .status import print_verdict
from .terminal import ConsoleReporter, command_line, notes, only_document, out, print_json

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import line as line_module
    from ..dataset import Exported

# An error after one of these is about the log, which the page on the data shows.
_OF_DATA: Final = ("events", "responses", "unpaired", "pairs", "splits")
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, for example `train.method=kto`. Repeatable.",
        autocompletion=completing.assignments,
    ),
]


OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="PLACE",
        help="Where tasks and scoring engines run: `local`, or `ray`, a cluster of this machine's own or that of "
        "scale.address. The tables are the same.",
    ),
]


def with_place(settings: list[str] | None, on: str | None) -> list[str]:
    """Settings with the option `--on` among them, which wins."""
    return [*(settings or ()), *([] if on is None else [f"scale.runner={on}"])]


def run_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="Run from this stage, again.", autocompletion=completing.stages),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--until", metavar="STAGE", help="Stop after this stage.", autocompletion=completing.stages),
    ] = None,
    settings: SetOption = None,
    on: OnOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; run nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole line: logs to a trained model and a report.

    Stages whose inputs, settings and code have not changed are skipped; an interrupted run resumes.
    """
    with only_document(as_json):
        _run(config, first, last, with_place(settings, on), dry_run=dry_run, as_json=as_json)


def _run(
    config: Path,
    first: str | None,
    last: str | None,
    settings: list[str],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from .. import line

    loaded = line.open_run(config, tuple(settings))
    stages = line.select(first, last)
    line.check_run(loaded, stages)
    planned = line.plan(loaded, stages, forced=first is not None)
    if dry_run:
        left_out = line.rehearse(loaded, stages)
        if as_json:
            print_json(_plan_document(planned))
        else:
            print_plan(planned)
        if left_out is not None:
            notes.print(left_out, markup=False, soft_wrap=True)
        return
    if all(entry.action == "skip" for entry in planned):
        out.print(f"Nothing to do: all {len(planned)} stages of '{loaded.name}' are up to date.", markup=False)
        recorded = ((entry.stage, line.read_stage(loaded, entry.stage)) for entry in planned)
        finished = [line.Finished(stage, "skipped", manifest) for stage, manifest in recorded if manifest is not None]
    else:
        finished = list(_running(loaded, stages, forced=first is not None))
    if stages[-1].name == "report":
        print_verdict(loaded)
    if as_json:
        print_json(run_document(loaded, finished))


def _running(
    loaded: RunConfig, stages: "tuple[line_module.Stage, ...]", *, forced: bool = False
) -> "Generator[line_module.Finished, None, None]":
    """The stages, each told as it is done; the run's folder is locked until the last has been taken."""
    from .. import line

    of_data = False
    try:
        steps = line.run(loaded, stages, forced=forced, reporter=ConsoleReporter(), command=command_line())
        with closing(steps):
            for finished in steps:
                of_data = finished.stage.name in _OF_DATA
                print_stage(finished)
                yield finished
    except InputError:
        if of_data:
            _print_data_report(loaded)
        raise


def _print_data_report(loaded: RunConfig) -> None:
    """What was read is shown though nothing came of it: why stands there."""
    from ..dataset import write_report

    page = loaded.place(write_report(loaded, command_line()))
    out.print(f"Data report: {page}", markup=False, soft_wrap=True)
    out.print(f"Rejected rows: thumbline rejects {shlex.quote(loaded.place())}", markup=False, soft_wrap=True)


def print_plan(planned: "list[line_module.Planned]") -> None:
    """What would happen to each stage, and why."""
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "would", "why"):
        table.add_column(heading)
    words = {"run": "run", "skip": "skip", "maybe": "run if its input changes"}
    for entry in planned:
        table.add_row(entry.stage.name, words[entry.action], entry.reason)
    out.print(table)


def _plan_document(planned: "list[line_module.Planned]") -> list[dict[str, str]]:
    """For each stage `stage`, `would` (`run`, `skip`, or `maybe`, if its input changes) and `why`."""
    return [{"stage": entry.stage.name, "would": entry.action, "why": entry.reason} for entry in planned]


def print_stage(finished: "line_module.Finished") -> None:
    """What happened to a stage, in a line, and what a person should read of it."""
    from ..line import stage_lines

    manifest = finished.manifest
    counts = manifest.counts
    if finished.action != "ran":
        what = {"skipped": "up to date", "taken": "taken from a run that has done the same"}[finished.action]
        notes.print(
            Text.assemble(f"{finished.stage.name:<10} {what}  ", (manifest.fingerprint[:8], "dim")), soft_wrap=True
        )
        return
    gave = "" if counts.given == counts.rows_in else f" (gave {counts.given:,})"
    parts = [f"{counts.rows_in:,} in{gave}", f"{counts.rows_out:,} out"]
    parts += [f"{counts.merged:,} merged"] if counts.merged else []
    parts += [f"{counts.rejected:,} rejected"] if counts.rejected else []
    text = ", ".join(parts) + "".join(_made(*entry) for entry in counts.made.items())
    line = f"{finished.stage.name:<10} {text:<58} {manifest.seconds:>8.1f} s  "
    notes.print(Text.assemble(line, (manifest.fingerprint[:8], "dim")), soft_wrap=True)
    for sentence in stage_lines(manifest, brief=finished.stops):
        notes.print(f"{'':<10} {sentence}", style="yellow", markup=False, soft_wrap=True)


def _made(name: str, made: int) -> str:
    return f"; {made:,} {name.removesuffix('s') if made == 1 else name}"


def prepare_command(
    inputs: Annotated[list[str], typer.Argument(help="Logs: files, folders, globs, or hub:ID.", metavar="LOGS...")],
    output: PlaceOption,
    log_format: Annotated[
        str, typer.Option("--format", "-f", help="A name of `thumbline formats`.", autocompletion=completing.formats)
    ] = "auto",
    settings: SetOption = None,
    on: OnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn logs into unpaired rows, pairs and splits.

    Tables land in the output folder, one folder a stage; `dataset/` in it holds them by split with a card, as TRL,
    `datasets` and the hub read them; data_report.html shows what became of the log.
    """
    loaded = run_config(inputs, output, NO_MODEL, with_place(settings, on), events={"format": log_format})
    with only_document(as_json):
        finished, exported = _prepared(loaded)
        for name, rows in exported.rows.items():
            notes.print(f"  {_within(output, name)}  {rows:,} rows", markup=False, soft_wrap=True)
        print_left_out(exported.left_out, _within(output, "dataset/rejects.jsonl"))
        notes.print(f"  {_within(output, exported.card)}  card of the data set", markup=False, soft_wrap=True)
        out.print(f"Data report: {_within(output, exported.report)}", markup=False, soft_wrap=True)
        if as_json:
            print_json(run_document(loaded, finished) | _dataset_document(exported, output))


def _within(output: str | Path, name: str) -> str:
    """What lies in the output folder, by the path or the address that was typed, without its secrets."""
    place = str(output)
    return f"{without_secrets(place).rstrip('/')}/{name}" if "://" in place else str(Path(place) / name)


def _prepared(loaded: RunConfig) -> "tuple[list[line_module.Finished], Exported]":
    """The stages and the data set; one is made from the other while no other process may write to them."""
    from .. import line
    from ..dataset import export_dataset

    stages = line.select(None, LAST_STAGE_OF["prepare"])
    finished: list[line_module.Finished] = []
    # Closed here where an error ends it: left to be collected, a lease would be given back by any thread, and that of
    # the store's client would wait for itself.
    with closing(_running(loaded, stages)) as running:
        while len(finished) < len(stages):
            finished.append(next(running))
        exported = export_dataset(loaded, command_line())
        # The end of the last stage, which frees the run's folder.
        for _ in running:
            pass
    return finished, exported


def _dataset_document(exported: "Exported", output: str) -> dict[str, Any]:
    """What `prepare --json` adds: `dataset` (`rows` by file, `left_out` by reason, `card`) and `data_report`."""
    rows = {_within(output, name): count for name, count in exported.rows.items()}
    dataset = {"rows": rows, "left_out": dict(exported.left_out), "card": _within(output, exported.card)}
    return {"dataset": dataset, "data_report": _within(output, exported.report)}


def train_command(
    inputs: Annotated[list[str], typer.Argument(help="Rows in TRL's layouts, or logs.", metavar="ROWS...")],
    output: PlaceOption,
    model: ModelOption,
    method: Annotated[
        str, typer.Option(help="A name of `thumbline losses`.", autocompletion=completing.methods)
    ] = "dpo",
    settings: SetOption = None,
) -> None:
    """Train a model on rows or logs; the model lands in OUTPUT/train/model.

    Nothing is held out for a test here: use `thumbline run` to train and evaluate.
    """
    from .. import line

    loaded = run_config(
        inputs, output, model, settings or (), splits={"test": 0.0}, train={"method": method}, pairs={"min_margin": 0.0}
    )
    stages = line.select(None, LAST_STAGE_OF["train"])
    line.see(loaded)
    line.check_run(loaded, stages)
    for _ in _running(loaded, stages):
        pass
    out.print(f"Model: {loaded.place('train', 'model')}", markup=False, soft_wrap=True)
