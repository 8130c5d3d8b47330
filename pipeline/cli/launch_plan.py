"""The command `launch-plan`: the users and days that an A/B test of a new model takes."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .options import grouped
from .terminal import out, print_rows

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from ..api.launching import LaunchPlan


@dataclass(frozen=True)
class Log:
    """Where the log's numbers come from."""

    run: Annotated[
        str | None, typer.Argument(help="Folder or address of a run, also that of `prepare`; none with --base-rate.")
    ] = None


@dataclass(frozen=True)
class Numbers:
    """What is stated by hand, over what the log says."""

    base_rate: Annotated[float | None, typer.Option(help="Share of thumbs up among votes.")] = None
    votes_per_user: Annotated[float | None, typer.Option(help="Mean votes of a user who votes.")] = None
    variation: Annotated[float | None, typer.Option(help="Standard deviation of that over its mean.")] = None
    icc: Annotated[float | None, typer.Option(help="Intra-class correlation of the votes of one user, 0 to 1.")] = None
    rating_rate: Annotated[float | None, typer.Option(help="Share of answers shown that are rated.")] = None
    users_per_day: Annotated[float | None, typer.Option(help="Users who vote, a day.")] = None


@dataclass(frozen=True)
class Test:
    """What the test is to find, and how."""

    difference: Annotated[
        float | None, typer.Option(help="As a share: 0.03 for three points; else what the run predicts, or a grid.")
    ] = None
    power: Annotated[list[float] | None, typer.Option(help="Chance to find it. Repeatable; else 0.8 and 0.9.")] = None
    alpha: Annotated[float, typer.Option(help="Level of the two-sided test.")] = 0.05
    traffic: Annotated[float, typer.Option(help="Share of users who are in the test, both arms together.")] = 1.0


@grouped
def launch_plan_command(
    *,
    log: Log,
    numbers: Numbers,
    test: Test,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say how many users and days an A/B test needs to see the thumbs-up rate change.

    From a run's log: its rate, how many answers are rated, how alike the votes of one user are. Half of the users get
    the new model. Exit code 2: the log names no user, or has too few votes.
    """
    from ..api.launching import launch_plan

    plan = launch_plan(
        log.run,
        difference=test.difference,
        **vars(numbers),
        powers=tuple(test.power or (0.8, 0.9)),
        alpha=test.alpha,
        traffic=test.traffic,
    )
    if as_json:
        out.print_json(json.dumps(plan.as_dict()))
        return
    _print(plan, test.alpha)


def _print(plan: "LaunchPlan", alpha: float) -> None:
    from ..report.formatting import change, count, number, percent

    basis = plan.basis
    effect = number(basis.design_effect, 2)
    if basis.design_effect_low is not None:
        effect += f" ({number(basis.design_effect_low, 2)} to {number(basis.design_effect_high, 2)})"
    out.print(
        f"Thumbs up {percent(basis.base_rate)} of votes; {number(basis.votes_per_user, 2)} votes a user (variation "
        f"{number(basis.variation, 2)}), correlation {number(basis.icc)}, design effect {effect}",
        soft_wrap=True,
    )
    if basis.users is not None:
        out.print(
            f"Log: {count(basis.votes)} votes of {count(basis.users)} users in {number(basis.days, 1)} days; answers "
            f"rated {percent(basis.rating_rate)}",
            soft_wrap=True,
        )
    out.print(f"\nBoth arms together, two-sided level {alpha:g}:")
    print_rows(
        [
            {
                "difference": change(need["difference"], "share"),
                "power": f"{need['power']:g}",
                "users who vote": count(need["users"]),
                "votes": count(need["votes"]),
                "answers shown": count(need["answers"]),
                "days": number(need["days"], 1),
            }
            for need in plan.needs.iter_rows(named=True)
        ]
    )
    out.print()
    for text in plan.assumed:
        out.print(f"- {text}", markup=False, soft_wrap=True)
