"""The command `annotation-curve`: what pairs and thumbs are worth, over how many were given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import load_config
from .run import SetOption
from .side_by_side import numbers, print_rows, print_step, print_what_would_run
from .terminal import ConsoleReporter, command_line, notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import side_by_side as package


def annotation_curve_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    grid: Annotated[str, typer.Option(metavar="N1,N2", help="Pairs that DPO trains on: a curve's points.")],
    seeds: Annotated[
        str | None, typer.Option(metavar="S1,S2", help="Draw rows and their order with each of these seeds.")
    ] = None,
    within: Annotated[
        float,
        typer.Option(min=0.0, max=0.5, help="How much worse is still as good: a share of pairs, or of wins."),
    ] = 0.02,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the curve; else the run's with -annotations.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Trained models that stay on disk: none, or all.")] = "none",
    settings: SetOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again the trainings that failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")] = False,
) -> None:
    """Train DPO on n pairs and KTO on n and n/2 thumbs: what annotations are worth, and half the effort.

    What is done is found again: the same command goes on where it was, and a longer grid trains what is new.
    OUTPUT/annotations.html has the curve, with what each point took in votes, and whether this log supports the claim.
    """
    from .. import side_by_side

    plan = side_by_side.plan_curve(
        load_config(config, tuple(settings or ())),
        numbers(grid, "--grid"),
        seeds=None if seeds is None else numbers(seeds, "--seeds"),
        output=output,
        keep=keep,
    )
    side_by_side.check_arms(plan)
    if dry_run:
        print_what_would_run(plan)
        return
    total = len(plan.arms) * len(plan.seeds)
    notes.print(f"{total} trainings, into {plan.output}", markup=False, soft_wrap=True)
    trials: list[side_by_side.ArmTrial] = []
    steps = side_by_side.run_arms(plan, ConsoleReporter(), command_line(), retry=retry, check=side_by_side.check_rows)
    for step in steps:
        trials += [step] if isinstance(step, side_by_side.ArmTrial) else []
        print_step(step, len(trials), total)
    curve = side_by_side.curve_of(plan, trials, within)
    side_by_side.write_curve(curve, command_line())
    _print_curve(curve)


def _print_curve(curve: "package.Curve") -> None:
    from ..side_by_side.curve_page import MARKDOWN, PAGE, curve_verdict, grid_rows

    print_rows(grid_rows(curve))
    out.print(curve_verdict(curve), markup=False, soft_wrap=True)
    out.print(f"Page: {curve.plan.output / PAGE}, and {MARKDOWN} beside it", markup=False, soft_wrap=True)
