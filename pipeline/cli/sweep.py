"""The command `sweep`: one run trained under many settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..config import load_config
from .run import SetOption, print_plan, print_stage
from .side_by_side import DryRunOption, numbers
from .terminal import ConsoleReporter, command_line, notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import sweep as sweep_module


def sweep_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    over: Annotated[
        list[str],
        typer.Option(metavar="KEY=V1,V2", help="A setting of training and its values. Repeatable: all combinations."),
    ],
    seeds: Annotated[
        str | None, typer.Option(metavar="S1,S2", help="Train every setting with each of these seeds.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="Choose on the validation split by accuracy, auc, margin, loss, or win_rate of answers; frontier: the "
            "cheapest setting whose answers are surely better; auto: accuracy or auc."
        ),
    ] = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the sweep; else the run's with -sweep.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Trained models that stay on disk: best, or all.")] = "best",
    settings: SetOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again the trials that failed.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a run under every combination of settings, over one stored reference, and choose on the validation split.

    What is done is found again: the same command goes on where it was, and a larger grid trains what is new. The best
    setting alone is evaluated on the test split; OUTPUT/best.yaml is its run file.
    """
    from .. import sweep

    plan = sweep.plan_sweep(
        load_config(config, tuple(settings or ())),
        [sweep.parse_axis(text) for text in over],
        seeds=None if seeds is None else numbers(seeds, "--seeds"),
        metric=metric,
        output=output,
        keep=keep,
    )
    sweep.check_shared(plan)
    if dry_run:
        _print_plan(plan)
        return
    notes.print(f"{len(plan.trials)} trials, into {plan.output}")
    for step in sweep.run_sweep(plan, reporter=ConsoleReporter(), command=command_line(), retry=retry):
        if isinstance(step, sweep.Done):
            if step.part == "base" or step.finished.action == "ran":
                print_stage(step.finished)
        elif isinstance(step, sweep.TrialResult):
            _print_trial(plan, step)
        else:
            sweep.write_outcome(step, command_line())
            _print_outcome(step)


def _print_plan(plan: "sweep_module.Plan") -> None:
    from .. import line, sweep
    from ..sweep.plan import LAST_SHARED

    out.print("Once, for all trials:")
    print_plan(line.plan(plan.base, line.select(None, LAST_SHARED)))
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", "would"):
        table.add_column(heading, overflow="fold")
    for trial in plan.trials:
        done, failed = sweep.is_done(trial.config), sweep.failure_of(trial.config)
        table.add_row(trial.name, "skip: done" if done else f"skip: failed: {failed}" if failed else "run")
    out.print(table)


def _print_trial(plan: "sweep_module.Plan", result: "sweep_module.TrialResult") -> None:
    from ..sweep.words import value_text

    place = f"[{plan.trials.index(result.trial) + 1}/{len(plan.trials)}]"
    if result.status == "failed":
        notes.print(f"{place} {result.trial.name}  failed: {result.error}", markup=False, soft_wrap=True)
        return
    found = value_text(result.values[plan.measure.name], plan.measure)
    when = "up to date" if result.found else f"{result.seconds:.1f} s"
    notes.print(f"{place} {result.trial.name}  {plan.measure.name} {found}  {when}", markup=False, soft_wrap=True)


def _print_outcome(outcome: "sweep_module.Outcome") -> None:
    from ..sweep.words import against_default, final_text, notes, setting_rows, verdict

    rows = setting_rows(outcome, [outcome.plan.measure.name])
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    out.print(table)
    for text in (verdict(outcome), against_default(outcome), final_text(outcome), *notes(outcome)):
        if text is not None:
            out.print(text, markup=False, soft_wrap=True)
    folder = outcome.plan.output
    out.print(f"Best: {folder / 'best.yaml'}  (thumbline run has nothing left to do in it)", soft_wrap=True)
    out.print(f"Page: {folder / 'sweep.html'}", soft_wrap=True)
