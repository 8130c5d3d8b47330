"""The command `compare-methods`: methods side by side on one run's data, reference and token budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import load_config
from .run import SetOption
from .side_by_side import numbers, print_left_out, print_rows, print_step, print_what_would_run
from .terminal import ConsoleReporter, command_line, notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from .. import side_by_side as package


def compare_methods_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="M1,M2", help="Methods of `thumbline losses`; else SFT, DPO, IPO, KTO, ORPO, SimPO, RLHF."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="S1,S2", help="Train every method with each of these seeds.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The method that others are compared with; else dpo.")] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Completion tokens that each method trains on; else what the baseline takes."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="METHOD.KEY=VALUE", help="A setting of train for one method. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the comparison; else the run's with -methods.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Trained models that stay on disk: none, or all.")] = "none",
    settings: SetOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again the trainings that failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")] = False,
) -> None:
    """Train methods side by side: the same splits, model, reference and number of trained tokens, in one table.

    What is done is found again: the same command goes on where it was, and one more method or seed trains what is new.
    OUTPUT/methods.html has what each needs, takes and reaches, against the baseline and beside the tutorials' table.
    """
    from .. import side_by_side

    plan = side_by_side.plan_methods(
        load_config(config, tuple(settings or ())),
        None if methods is None else [name.strip() for name in methods.split(",")],
        seeds=None if seeds is None else numbers(seeds, "--seeds"),
        baseline=baseline,
        tokens=tokens,
        changes=_changes(changes or []),
        output=output,
        keep=keep,
    )
    side_by_side.check_arms(plan)
    if dry_run:
        print_what_would_run(plan)
        return
    print_left_out(plan)
    total = len(plan.arms) * len(plan.seeds)
    notes.print(f"{total} trainings, into {plan.output}", markup=False, soft_wrap=True)
    trials: list[side_by_side.ArmTrial] = []
    for step in side_by_side.run_arms(plan, ConsoleReporter(), command_line(), retry=retry):
        trials += [step] if isinstance(step, side_by_side.ArmTrial) else []
        print_step(step, len(trials), total)
    outcome = side_by_side.outcome_of(plan, trials)
    side_by_side.write_outcome(outcome, command_line())
    _print_outcome(outcome)


def _changes(texts: list[str]) -> dict[str, dict[str, Any]]:
    from ..side_by_side.methods import parse_change

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        method, key, value = parse_change(text)
        found.setdefault(method, {})[key] = value
    return found


def _print_outcome(outcome: "package.Outcome") -> None:
    from ..side_by_side.page import MARKDOWN, PAGE
    from ..side_by_side.words import ANSWERS, PREFERENCES, cost_rows, measure_rows, verdict

    for rows in (cost_rows(outcome), measure_rows(outcome, PREFERENCES), measure_rows(outcome, ANSWERS)):
        print_rows(rows)
    out.print(verdict(outcome), markup=False, soft_wrap=True)
    folder = outcome.plan.output
    out.print(f"Page: {folder / PAGE}, and {MARKDOWN} beside it", markup=False, soft_wrap=True)
