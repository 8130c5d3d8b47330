"""The command `status`: where a run stands, whether it runs now, and what it found."""

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from ..config import RunConfig
from .documents import JsonOption, report_of, status_document, verdict_of
from .options import RunArgument
from .terminal import err, only_document, out, plain, print_json

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import line as line_module
    from ..storage.manifests import Manifest

# Of a run whose stages end faster than they are looked at, the last look is shown.
_LOOKS: Final = 3


def status_command(
    run: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Show where each stage of a run stands.

    It tells a run in progress how far it is, and of a finished one why rows were set aside and what the report says.
    Neither logs nor models need be here: what cannot be compared with them is said.
    """
    from .. import line

    config = line.open_run(run)
    activity, stages = _seen_at_once(config)
    if as_json:
        with only_document():
            print_json(status_document(config, stages, activity))
        return
    if activity is not None:
        _print_activity(activity)
    _print_table(stages)
    for one in stages:
        for sentence in () if one.manifest is None else line.stage_lines(one.manifest):
            out.print(f"{one.stage.name}: {sentence}", markup=False, soft_wrap=True)
    for one in stages:
        if one.unchecked is not None:
            text = f"{one.stage.name}: not compared with what it read: {one.unchecked}"
            err.print(text, style="yellow", markup=False, soft_wrap=True)
    if stages[-1].state == "stale":
        out.print("The report is of an earlier state of the run:")
    print_verdict(config)


def _seen_at_once(config: RunConfig) -> "tuple[line_module.Activity | None, list[line_module.Standing]]":
    """What a process does in the run's folder, and where the stages stand, of one moment: a stage may end meanwhile."""
    from .. import line

    activity = line.read_activity(config.run_dir)
    for _ in range(_LOOKS):
        stages = line.standing(config, activity)
        since = line.read_activity(config.run_dir)
        if _at(since) == _at(activity):
            break
        activity = since
    return since, stages


def _at(activity: "line_module.Activity | None") -> tuple[str, str | None] | None:
    return None if activity is None else (activity.state, activity.stage)


def _print_activity(activity: "line_module.Activity") -> None:
    place = f"process {activity.process} on {activity.host}, since {activity.started_at}"
    out.print(f"{activity.words()}  ({place})", style="bold", markup=False, soft_wrap=True)
    if activity.error is not None:
        out.print(activity.error, style="red", markup=False, soft_wrap=True)


def print_verdict(config: RunConfig) -> None:
    """The verdict in one line and where the report lies, where there is one."""
    verdict, report = verdict_of(config), report_of(config)
    if verdict is not None:
        out.print(verdict["sentence"], style="bold", markup=False, soft_wrap=True)
    if report is not None:
        out.print(f"Report: {report}", markup=False, soft_wrap=True)


def _print_table(stages: "list[line_module.Standing]") -> None:
    several = any(
        one.manifest is not None and one.manifest.counts.given != one.manifest.counts.rows_in for one in stages
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "state", "why"):
        table.add_column(heading, no_wrap=heading != "why")
    for heading in ("in", *(["gave"] if several else []), "out", "merged", "rejected", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("finished")
    for one in stages:
        counted = () if one.manifest is None else _counted(one.manifest, several=several)
        # As `Text`: a table's name may hold brackets.
        table.add_row(one.stage.name, one.state, Text(plain(one.why)), *counted)
    out.print(table)


def _counted(row: "Manifest", *, several: bool) -> list[str]:
    """What became of a stage's rows, its seconds, and when it ended; what its rows gave where that is a column."""
    counts = row.counts
    gave = [counts.given] if several else []
    numbers = [counts.rows_in, *gave, counts.rows_out, counts.merged, counts.rejected]
    return [*(f"{number:,}" for number in numbers), f"{row.seconds:.1f}", row.finished_at]
