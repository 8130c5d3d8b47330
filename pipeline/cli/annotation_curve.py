"""The command `annotation-curve`: what pairs and thumbs are worth, over how many were given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import load_config
from .run import SetOption
from .side_by_side import DryRunOption, KeepOption, OutputOption, RetryOption, numbers, print_rows, print_trained
from .terminal import command_line, out

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
    output: OutputOption = None,
    keep: KeepOption = "none",
    settings: SetOption = None,
    retry: RetryOption = False,
    dry_run: DryRunOption = False,
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
    trials = print_trained(plan, retry=retry, dry_run=dry_run, check=side_by_side.check_rows)
    if trials is None:
        return
    curve = side_by_side.curve_of(plan, trials, within)
    side_by_side.write_curve(curve, command_line())
    _print_curve(curve)


def _print_curve(curve: "package.Curve") -> None:
    from ..side_by_side.curve_page import MARKDOWN, PAGE, curve_verdict, grid_rows

    print_rows(grid_rows(curve))
    out.print(curve_verdict(curve), markup=False, soft_wrap=True)
    out.print(f"Page: {curve.plan.output / PAGE}, and {MARKDOWN} beside it", markup=False, soft_wrap=True)
