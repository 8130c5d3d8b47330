"""The command `compare-methods`: methods side by side on one run's data, reference and token budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import load_config
from .run import SetOption
from .side_by_side import DryRunOption, KeepOption, OutputOption, RetryOption, numbers, print_rows, print_trained
from .terminal import command_line, out

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
    output: OutputOption = None,
    keep: KeepOption = "none",
    settings: SetOption = None,
    retry: RetryOption = False,
    dry_run: DryRunOption = False,
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
    trials = print_trained(plan, retry=retry, dry_run=dry_run)
    if trials is None:
        return
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
