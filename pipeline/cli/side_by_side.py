"""What the commands that train side by side share: options read, plans and trials printed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..errors import ConfigError
from .run import print_plan, print_stage
from .terminal import ConsoleReporter, command_line, notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import side_by_side
    from ..side_by_side.words import Entry
    from ..sweep import Done


OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of all of it; else the run's with -methods or -annotations."),
]
KeepOption = Annotated[str, typer.Option(help="Trained models that stay on disk: none, or all.")]
RetryOption = Annotated[bool, typer.Option("--retry", help="Try again the trainings that failed.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")]


def print_trained(
    plan: "side_by_side.Plan",
    *,
    retry: bool,
    dry_run: bool,
    check: "Callable[[side_by_side.Plan], None]" = lambda _: None,
) -> "list[side_by_side.ArmTrial] | None":
    """Train what is not done and say so, or say what would be done.

    Args:
        plan: What to do.
        retry: Try failed trainings again.
        dry_run: Run nothing.
        check: Called once the shared stages are done; it may refuse what they show.

    Returns:
        What became of each training; None where nothing was run.
    """
    from .. import side_by_side
    from ..sweep import check_shared

    check_shared(plan)
    if dry_run:
        print_what_would_run(plan)
        return None
    print_left_out(plan)
    total = len(plan.arms) * len(plan.seeds)
    notes.print(f"{total} trainings, into {plan.output}", markup=False, soft_wrap=True)
    trials: list[side_by_side.ArmTrial] = []
    for step in side_by_side.run_arms(plan, ConsoleReporter(), command_line(), retry=retry, check=check):
        trials += [step] if isinstance(step, side_by_side.ArmTrial) else []
        print_step(step, len(trials), total)
    return trials


def numbers(text: str, option: str) -> list[int]:
    """Whole numbers with commas between.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text}: whole numbers with commas between, as in 0,1,2.") from None


def print_what_would_run(plan: "side_by_side.Plan") -> None:
    """The stages that all share, and the trials."""
    from .. import line
    from ..sweep.plan import LAST_SHARED

    out.print("Once, for all:")
    print_plan(line.plan(plan.base, line.select(None, LAST_SHARED)))
    out.print(
        f"Then {len(plan.arms) * len(plan.seeds)} trainings, each evaluated on the same rows, into {plan.output}:"
    )
    for arm in plan.arms:
        rows = arm.config.train.most_rows
        of = "" if rows is None else f" on {rows:,} rows"
        out.print(f"  {arm.name}{of}, seeds {', '.join(map(str, plan.seeds))}", markup=False, soft_wrap=True)
    print_left_out(plan)


def print_left_out(plan: "side_by_side.Plan") -> None:
    """What is not compared, and why."""
    for name, why in plan.left_out.items():
        notes.print(f"Left out: {name}, since {why}", markup=False, soft_wrap=True)


def print_step(step: "Done | side_by_side.ArmTrial", place: int, total: int) -> None:
    """A stage that all share, or a trial."""
    from .. import side_by_side

    if not isinstance(step, side_by_side.ArmTrial):
        print_stage(step.finished)
        return
    told = f"[{place}/{total}] {step.result.trial.name}"
    if step.result.status == "failed":
        notes.print(f"{told}  failed: {step.result.error}", markup=False, soft_wrap=True)
        return
    length = f"{step.steps.steps:,} steps, {step.steps.tokens:,} completion tokens"
    when = "up to date" if step.result.found else f"{step.result.seconds:.1f} s"
    notes.print(f"{told}  {length}  {when}", markup=False, soft_wrap=True)


def print_rows(rows: "list[dict[str, Entry]]") -> None:
    """A table of entries; what stands below them in smaller letters is on the page alone."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(entry.text for entry in row.values()))
    out.print(table)
