"""What the commands that train side by side share: options read, plans and trials printed."""

from typing import TYPE_CHECKING

from rich.table import Table

from ..errors import ConfigError
from .run import print_plan, print_stage
from .terminal import notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import side_by_side
    from ..side_by_side.words import Entry
    from ..sweep import Done


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
