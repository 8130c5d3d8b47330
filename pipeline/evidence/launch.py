"""The launch plan: the users and days that an A/B test of a new model takes, from the thumbs of the log.

Users are split evenly at random between the old and the new model; what is compared is the share of thumbs up among
the votes, by a two-sided test with a standard error clustered by user.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from thumbline.evaluators.power import votes_an_arm

from ..errors import ConfigError
from .launch_basis import Basis, Stated, of_log, of_statement
from .launch_predicted import Predicted

GRID: Final = (0.01, 0.02, 0.03, 0.05, 0.1)
POWERS: Final = (0.8, 0.9)
ALPHA: Final = 0.05
# Least share, and least users a day: of smaller ones a number of days or of answers is none any more.
_LEAST: Final = 1e-9
# A test of so few users an arm is not what the normal distribution says it is.
_FEW_USERS: Final = 30


class Need(NamedTuple):
    """What the test takes for one difference at one power; both arms together where nothing else is said.

    Attributes:
        difference: In the share of thumbs up.
        power: Chance to find it.
        users_per_arm: Users who vote, in each arm.
        users: In both arms.
        votes: Of them.
        answers: Answers shown to get the votes; None where the rating rate is not known.
        days: How long that takes; None where users a day are not known.
    """

    difference: float
    power: float
    users_per_arm: int
    users: int
    votes: int
    answers: int | None
    days: float | None


@dataclass(frozen=True)
class Plan:
    """A launch plan.

    Attributes:
        basis: What it rests on.
        needs: One a difference and power, large differences first.
        alpha: Level of the two-sided test.
        traffic: Share of users who are in the test.
        assumed: Sentences: what was assumed, left out or is not known, and why.
    """

    basis: Basis
    needs: tuple[Need, ...]
    alpha: float
    traffic: float
    assumed: tuple[str, ...]


def launch_plan(
    raters: pl.DataFrame | None,
    responses: pl.DataFrame | None,
    stated: Stated,
    *,
    difference: float | None = None,
    predicted: Predicted | None = None,
    powers: Sequence[float] = POWERS,
    alpha: float = ALPHA,
    traffic: float = 1.0,
) -> Plan:
    """The plan from a log's tables, from what is stated by hand, or from both.

    Args:
        raters: Table `raters`, columns of `COLUMNS`; None for a plan from `stated` alone.
        responses: Table `responses`, likewise.
        stated: What is said by hand.
        difference: What the new model is to bring, as a share; smaller ones of `GRID` are planned beside it. None for
            what is predicted, or the whole grid.
        predicted: What the run predicts, which is planned for where no difference is stated.
        powers: Each in (alpha, 1).
        alpha: Level of the two-sided test.
        traffic: Share of users in the test, in (0, 1].

    Raises:
        ConfigError: A number is outside its range, or nothing is given to plan from.
        InputError: The log names no user, or has too few votes or users to plan from.
    """
    _check(stated, powers, alpha, traffic)
    basis, assumed = of_statement(stated) if raters is None or responses is None else of_log(raters, responses, stated)
    if difference is not None and (difference == 0 or not 0 < basis.base_rate + difference < 1):
        raise ConfigError(
            f"launch-plan: a difference of {difference:g} from a base rate of {basis.base_rate:.3f} gives no share "
            "between 0 and 1; state it as a share, 0.02 for two points."
        )
    if difference is None and predicted is not None:
        difference, said = _taken(basis.base_rate, predicted)
        assumed = [said, *assumed]
    needs = tuple(
        _need(basis, wanted, power, alpha, traffic)
        for wanted in _differences(basis.base_rate, difference)
        for power in powers
    )
    return Plan(basis, needs, alpha, traffic, (*assumed, *_always(basis, needs, traffic)))


def _taken(base: float, predicted: Predicted) -> tuple[float | None, str]:
    """The predicted difference where it leads to a share, and what is said of it."""
    if predicted.difference is None or 0 < base + predicted.difference < 1:
        return predicted.difference, predicted.said
    return None, f"{predicted.said} From the log's rate of {base:.3f} it leads to no share, so a grid is planned."


def _check(stated: Stated, powers: Sequence[float], alpha: float, traffic: float) -> None:
    rules: dict[str, tuple[float | None, bool, str]] = {
        "base rate": (stated.base_rate, _inside(stated.base_rate), "between 0 and 1"),
        "votes a user": (stated.votes_per_user, _at_least(stated.votes_per_user, 1.0), "at least 1"),
        "variation of votes": (stated.variation, _at_least(stated.variation, 0.0), "at least 0"),
        "intra-class correlation": (stated.icc, stated.icc is None or 0 <= stated.icc <= 1, "0 to 1"),
        "rating rate": (stated.rating_rate, _is_share(stated.rating_rate), f"{_LEAST:g} to 1"),
        "users a day": (stated.users_per_day, _at_least(stated.users_per_day, _LEAST), f"at least {_LEAST:g}"),
        "level": (alpha, _inside(alpha), "between 0 and 1"),
        "share of users in the test": (traffic, _is_share(traffic), f"{_LEAST:g} to 1"),
        **{f"power {power:g}": (power, alpha < power < 1, "between the level and 1") for power in powers},
    }
    bad = [f"{name} is {value:g}, must be {want}" for name, (value, good, want) in rules.items() if not good]
    if bad or not powers:
        raise ConfigError(f"launch-plan: {'; '.join(bad) or 'no power is given'}.")


def _inside(value: float | None) -> bool:
    return value is None or 0 < value < 1


def _at_least(value: float | None, least: float) -> bool:
    return value is None or least <= value < math.inf


def _is_share(value: float | None) -> bool:
    return value is None or _LEAST <= value <= 1


def _differences(base: float, predicted: float | None) -> list[float]:
    """What is planned for: the predicted difference and smaller ones to the same side, or the whole grid."""
    if predicted is None:
        return [step for step in reversed(GRID) if base + step < 1]
    side = math.copysign(1.0, predicted)
    return [predicted, *(side * step for step in reversed(GRID) if step < abs(predicted) - 1e-12)]


def _need(basis: Basis, difference: float, power: float, alpha: float, traffic: float) -> Need:
    votes = votes_an_arm(basis.base_rate, difference, power, alpha) * basis.design_effect
    arm = max(2, math.ceil(votes / basis.votes_per_user - 1e-9))
    expected = math.ceil(2 * arm * basis.votes_per_user - 1e-9)
    return Need(
        difference,
        power,
        arm,
        2 * arm,
        expected,
        None if basis.rating_rate is None else math.ceil(expected / basis.rating_rate - 1e-9),
        None if basis.users_per_day is None else 2 * arm / (basis.users_per_day * traffic),
    )


def _always(basis: Basis, needs: Sequence[Need], traffic: float) -> list[str]:
    """What every plan assumes, and what this one stretches."""
    said = [
        "Users, not answers, are given the old or the new model at random, half of them each, and keep it; the "
        "standard error is clustered by user.",
        "The new model changes neither who votes nor how often: a share of thumbs up says nothing of those who do not.",
    ]
    longest = max((need.days for need in needs if need.days is not None), default=0.0)
    if basis.users_per_day is not None:
        said.append(
            f"Users who vote come at {basis.users_per_day * traffic:,.1f} a day, each new to the test, and each votes "
            "as often in the test as in the log."
        )
    if basis.days is not None and longest > basis.days:
        said.append(
            f"Tests of more than {basis.days:,.1f} days are longer than the log: where the same users come back they "
            "take longer than is said."
        )
    if any(need.users_per_arm < _FEW_USERS for need in needs):
        said.append(f"With fewer than {_FEW_USERS} users an arm the normal distribution promises too much: take more.")
    return said
