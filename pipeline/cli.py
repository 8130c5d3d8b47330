"""The `thumbline` command: arguments to settings to the line. With its reference part, all that prints."""

import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.config import RunConfig, build_config, load_config
from pipeline.errors import MISUSE, PipelineError
from pipeline.reference_cli import app as reference_app
from pipeline.terminal import (
    ConsoleReporter,
    DtypeOption,
    EngineOption,
    MaxTokensOption,
    ModelOption,
    TemplateOption,
    err,
    out,
    print_rows,
)

if TYPE_CHECKING:
    # Imported where it is used: the line loads every stage, which `thumbline --help` should not wait for.
    from pipeline import evaluation as evaluation_module
    from pipeline import line as line_module
    from pipeline.evaluation import outcome as outcome_module

app = typer.Typer(
    help="Turn thumbs-up / thumbs-down logs into a preference-trained model, and prove that it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(reference_app, name="reference")
_out = out
_err = err

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example `train.method=kto`. Repeatable."),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
BetaOption = Annotated[float | None, typer.Option(help="Scale of a reward; default: the run's own, else 0.1.")]
RewardOption = Annotated[
    str | None, typer.Option(help="implicit, mean_implicit, sum_logps or mean_logps; default: what the rows allow.")
]
DrawsOption = Annotated[
    int | None, typer.Option(help="Resamples of prompt groups an interval; default: the run's own, else 1000.")
]
ConfidenceOption = Annotated[
    float | None, typer.Option(help="Mass of every interval; default: the run's own, else 0.95.")
]
SeedOption = Annotated[int | None, typer.Option(help="Draws the resamples; default: the run's own, else 0.")]
BaselineOption = Annotated[str | None, typer.Option(help="Name of the model that others are compared with.")]
SliceOption = Annotated[list[str] | None, typer.Option("--slice", help="Column to evaluate apart. Repeatable.")]


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

    for finished in line.run(loaded, stages, forced=forced, reporter=ConsoleReporter(), command=_command_line()):
        _print_stage(finished)
    _print_report_place(loaded)


def _command_line() -> str:
    return shlex.join(["thumbline", *sys.argv[1:]])


def _check_training(config: RunConfig) -> None:
    """Say at once, not after an hour of scoring, that the method or its settings do not hold."""
    from pipeline.stages.train import check_methods

    check_methods(config.train)


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


@app.command("prepare")
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
    from pipeline import commands, line
    from pipeline.dataset import export_dataset

    loaded = commands.run_config(inputs, output, "demo", settings or (), events={"format": log_format})
    _run_line(loaded, line.select(None, commands.LAST_STAGE_OF["prepare"]))
    exported = export_dataset(loaded, _command_line())
    for name, rows in exported.rows.items():
        _out.print(f"  {output / name}  {rows:,} rows")
    _out.print(f"  {output / exported.card}  card of the data set")
    _out.print(f"Data report: {output / exported.report}")


@app.command("train")
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
    from pipeline import commands, line

    loaded = commands.run_config(
        inputs, output, model, settings or (), splits={"test": 0.0}, train={"method": method}, pairs={"min_margin": 0.0}
    )
    _check_training(loaded)
    _run_line(loaded, line.select(None, commands.LAST_STAGE_OF["train"]))
    _out.print(f"Model: {loaded.run_dir / 'train' / 'model'}")


@app.command("evaluate")
def evaluate_command(
    rows: Annotated[
        str | None,
        typer.Argument(help="A run, scored rows, or with --model a file or `hub:ID` of pairs.", metavar="ROWS"),
    ] = None,
    unpaired: Annotated[Path | None, typer.Option(help="Parquet of scored unpaired rows.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Scores the pairs: hub id, folder, LoRA adapter, or `demo`. Repeatable."),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Model that rewards are measured against.")] = None,
    output: OutputOption = Path("evaluation"),
    layout: Annotated[str, typer.Option(help="auto, rewardbench, ratings, or a name of `thumbline formats`.")] = "auto",
    split: Annotated[str, typer.Option(help="Split of a `hub:` data set.")] = "train",
    rating: Annotated[str | None, typer.Option(help="Column that rates an answer, of which pairs are made.")] = None,
    beta: BetaOption = None,
    reward: RewardOption = None,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    seed: SeedOption = None,
    baseline: BaselineOption = None,
    slice_by: SliceOption = None,
    engine: EngineOption = "auto",
    dtype: DtypeOption = "bfloat16",
    template: TemplateOption = "chat",
    max_tokens: MaxTokensOption = 1024,
    truncation: Annotated[str, typer.Option(help="Too long a row: drop, keep_end or keep_start.")] = "drop",
    store: Annotated[Path | None, typer.Option(help="Folder of stored log-probs; default: in OUTPUT.")] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Exit with 1 below it; METRIC:low is the interval's lower end."),
    ] = None,
    no_worse_than: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Exit with 1 where accuracy is worse than RUN's on the same pairs."),
    ] = None,
    allowed_loss: Annotated[
        float | None,
        typer.Option(min=0.0, help="For --no-worse-than: the whole interval must lie above minus this share."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file of the conditions.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None,
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Weights & Biases project to log to.")] = None,
) -> None:
    """Metrics with intervals, and a report, of a run, of scored rows, or of pairs that models score now.

    Exit code 1: a condition does not hold. Exit code 2: it cannot be evaluated as asked.
    """
    from pipeline import evaluation
    from pipeline.evaluation import gate, outcome

    wanted = evaluation.Request(
        rows=rows,
        unpaired=unpaired,
        models=tuple(model or ()),
        reference=reference,
        reading=evaluation.ReadOptions(layout, split, rating, tuple(slice_by or ())),
        scoring=_scoring(engine, dtype, template, max_tokens, truncation, store or output / "store"),
        gate=evaluation.Gate(tuple(fail_under or ()), no_worse_than, allowed_loss, junit),
        tensorboard=tensorboard,
        wandb=wandb,
    )
    choices = outcome.Choices(beta, reward, draws, confidence, seed, baseline)
    outcome.check_choices(choices)
    evaluation.check_request(wanted)
    found = outcome.evaluate_subject(evaluation.read_request(wanted, ConsoleReporter()), choices)
    _print_told(outcome.write_outcome(found, output, _command_line()), output)
    evaluation.track(wanted, found)
    conditions = evaluation.check_gate(wanted, found)
    print_rows([{"condition": c.name, "holds": "yes" if c.holds else "NO", "numbers": c.detail} for c in conditions])
    gate.refuse(conditions)


def _scoring(
    engine: str, dtype: str, template: str, max_tokens: int, truncation: str, store: Path
) -> "evaluation_module.ScoringOptions":
    from pipeline.evaluation import ScoringOptions

    document = {"name": "evaluate", "model": "none", "events": {"inputs": ["none"]}}
    document["reference"] = {"engine": engine, "dtype": dtype}
    document["sequences"] = {"template": template, "max_tokens": max_tokens, "truncation": truncation}
    config = build_config(document, origin="command line")
    return ScoringOptions(config.reference, config.sequences, store)


@app.command("compare")
def compare_command(
    runs: Annotated[list[str], typer.Argument(help="Runs, folders of `thumbline evaluate`, or scored rows.")],
    output: OutputOption = Path("comparison"),
    beta: BetaOption = None,
    reward: RewardOption = None,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    seed: SeedOption = None,
    baseline: BaselineOption = None,
    slice_by: SliceOption = None,
) -> None:
    """Models of several runs on the same held-out rows: a table, pictures and learning curves on one page.

    The first one's model is what the others are compared with. Runs whose rows differ are refused.
    """
    from pipeline.evaluation import compare, outcome

    choices = outcome.Choices(beta, reward, draws, confidence, seed, baseline)
    outcome.check_choices(choices)
    found = compare.compare(runs, choices, tuple(slice_by or ()))
    logs = compare.training_logs(runs)
    title = "thumbline comparison"
    _print_told(outcome.write_outcome(found, output, _command_line(), title=title, training_logs=logs), output)


def _print_told(told: "outcome_module.Told", output: Path) -> None:
    from pipeline.stages.report.formatting import interval, measure

    rows = [
        {
            "model": row.model + (f" against {row.compared_with}" if row.compared_with else ""),
            "metric": row.metric,
            "value": measure(row.value, row.unit),
            "interval": "" if row.ci_low is None else interval(row.ci_low, row.ci_high, row.unit),
            "rows": f"{row.n:,}",
            "note": row.reason or "",
        }
        for row in told.numbers
    ]
    print_rows(rows, whole=("metric", "value"))
    _out.print(told.sentence, markup=False)
    _out.print(f"Report: {output / 'report.html'}  every number: {output / 'metrics.json'}")


@app.command("losses")
def losses_command() -> None:
    """List the training methods: what each needs and when to use it."""
    from losses.registry import describe

    rows = describe()
    print_rows(rows)


@app.command("formats")
def formats_command() -> None:
    """List the log formats that can be read."""
    from pipeline.importers.registry import describe

    print_rows([dict(zip(("format", "reads", "options"), row, strict=True)) for row in describe()])


@app.command("tables")
def tables_command(
    name: Annotated[str | None, typer.Argument(help="A table; none lists them all.", metavar="TABLE")] = None,
) -> None:
    """Show the tables of the line and the columns of one of them."""
    from pipeline.tables import TABLES, describe_table

    if name is None:
        print_rows([{"table": table, "columns": ", ".join(schema.columns)} for table, schema in TABLES.items()])
        return
    print_rows(describe_table(name))


def _quiet_libraries() -> None:
    """Keep other libraries' chatter off the terminal; our own warnings are shown."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("pipeline").addHandler(_SayHandler())
    logging.getLogger("pipeline").propagate = False


def main() -> None:
    """Entry point: an error prints one message, never a traceback; a user's mistake exits with 2, others with 1."""
    _quiet_libraries()
    try:
        app()
    except PipelineError as error:
        _err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, MISUSE) else 1)
    except KeyboardInterrupt:
        _err.print("Interrupted. Finished stages are kept; the same command resumes.")
        sys.exit(130)


if __name__ == "__main__":
    main()
