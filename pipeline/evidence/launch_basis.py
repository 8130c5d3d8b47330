"""What a launch plan rests on: the rate, its clustering by user and the pace of a log, or numbers stated by hand."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from thumbline.evaluators.power import Clustering, clustering, stated_effect
from thumbline.evaluators.uncertainty import group_totals

from ..errors import ConfigError, InputError

# What is looked at of each table.
COLUMNS: Final = {
    "raters": ("user_id", "n_votes", "n_up"),
    "responses": (
        "n_up", "n_down", "n_retracted", "n_compared", "n_tied", "n_both_bad", "oldest_event_at", "newest_event_at"
    ),
}  # fmt: skip
# Fewer than these leave the rate, or how alike the votes of a user are, to chance.
_FEWEST_VOTES: Final = 100
_FEWEST_VOTERS: Final = 30
_FEWEST_OF_A_KIND: Final = 5
_FEWEST_REPEATING: Final = 10
_DRAWS: Final = 1000
_SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True)
class Stated:
    """What is said by hand, over what the log says; None leaves it to the log, or where there is none to the default.

    Attributes:
        base_rate: Share of thumbs up among votes today, in (0, 1).
        votes_per_user: Votes of a user who votes, at least 1; without a log 1.
        variation: Standard deviation of that over its mean, at least 0; without a log 0.
        icc: Intra-class correlation of the votes of one user, in [0, 1]; without a log 0 for one vote a user.
        rating_rate: Votes an answer shown, in (0, 1].
        users_per_day: Users who vote for the first time in the test, a day, above 0.
    """

    base_rate: float | None = None
    votes_per_user: float | None = None
    variation: float | None = None
    icc: float | None = None
    rating_rate: float | None = None
    users_per_day: float | None = None


class Basis(NamedTuple):
    """What a plan rests on.

    Attributes:
        base_rate: Share of thumbs up among votes.
        votes_per_user: Mean votes of a user who votes.
        variation: Standard deviation of that over its mean.
        icc: Intra-class correlation of the votes of one user; None where nobody votes twice.
        design_effect: What clustering makes of the votes that are needed, a factor of at least 1.
        design_effect_low: Lower end of its 95% interval over users; None where it was not measured.
        design_effect_high: Upper end.
        users: Users with a vote in the log; None without a log.
        votes: Votes of them.
        rating_rate: Share of the answers shown that were rated; None where the log holds rated answers alone.
        days: Days from the first event to the last; None where times are missing.
        users_per_day: Users who vote, a day; None where days are.
    """

    base_rate: float
    votes_per_user: float
    variation: float
    icc: float | None
    design_effect: float
    design_effect_low: float | None = None
    design_effect_high: float | None = None
    users: int | None = None
    votes: int | None = None
    rating_rate: float | None = None
    days: float | None = None
    users_per_day: float | None = None


class _Times(NamedTuple):
    """When the answers with votes were met, first and last, and how many of them say so."""

    first: datetime | None
    last: datetime | None
    timed: int
    voted: int


def of_statement(stated: Stated) -> tuple[Basis, list[str]]:
    """The basis of what is stated alone, and what has to be said of it.

    Raises:
        ConfigError: There is no base rate, or several votes a user without their correlation.
    """
    if stated.base_rate is None:
        raise ConfigError("launch-plan: give a run whose log it is planned from, or --base-rate.")
    votes, variation, icc = stated.votes_per_user or 1.0, stated.variation or 0.0, stated.icc
    if icc is None and (votes > 1.0 or variation > 0.0):
        raise ConfigError(
            f"launch-plan: with {votes:g} votes a user, how alike they are counts; give --icc (0 where they are no "
            "more alike than those of different users)."
        )
    effect = 1.0 if icc is None else stated_effect(votes, variation, icc)
    said = ["All numbers of the plan's basis were stated, none was measured on a log."]
    return Basis(
        stated.base_rate, votes, variation, icc, effect, rating_rate=stated.rating_rate,
        users_per_day=stated.users_per_day,
    ), said  # fmt: skip


def of_log(raters: pl.DataFrame, responses: pl.DataFrame, stated: Stated) -> tuple[Basis, list[str]]:
    """The basis of a log, with what is stated over it, and what has to be said of it.

    Args:
        raters: Table `raters`, columns of `COLUMNS`.
        responses: Table `responses`, likewise.
        stated: What is said by hand.

    Raises:
        InputError: The log names no user, or has too few votes or users.
    """
    voters = raters.filter(pl.col("n_votes") > 0).sort("user_id")
    votes = int(responses["n_up"].sum()) + int(responses["n_down"].sum())
    _refuse_few(voters, votes)
    up, given = (voters[name].to_numpy().astype(np.float64) for name in ("n_up", "n_votes"))
    found = clustering(up, given)
    if 0 < found.repeating < _FEWEST_REPEATING and stated.icc is None:
        raise InputError(
            f"launch-plan: only {found.repeating} of {found.users:,} users voted twice or more; how alike the votes of "
            f"one user are cannot be measured on fewer than {_FEWEST_REPEATING}. Give --icc, or a longer log."
        )
    ends = _effect_interval(up, given)
    times = _times(responses)
    span = None if times.first is None or times.last is None else _days(times.first, times.last)
    basis = Basis(
        found.rate, found.votes_a_user, found.variation, found.icc, found.design_effect, *ends, found.users,
        found.votes, _rating_rate(responses), span, found.users / span if span else None,
    )  # fmt: skip
    said = [*_said_of_log(found, votes, times, span, stated), *_said_of_rating(basis, stated)]
    return _overruled(basis, stated, said), said


def _refuse_few(voters: pl.DataFrame, votes: int) -> None:
    """Refuse a log that names no user, or says too little."""
    if voters.is_empty():
        what = f"{votes:,} votes, none with a user id" if votes else "no thumbs up or down"
        raise InputError(
            f"launch-plan: the log has {what}: users cannot be counted, nor how alike the votes of one are. Name the "
            "column (events.options: {user_id: ...}), or plan from numbers: --base-rate, --votes-per-user, --icc."
        )
    given, up = int(voters["n_votes"].sum()), int(voters["n_up"].sum())
    short = [
        f"{has:,} {what} (at least {least})"
        for has, what, least in (
            (given, "votes", _FEWEST_VOTES),
            (voters.height, "users who voted", _FEWEST_VOTERS),
            (up, "thumbs up", _FEWEST_OF_A_KIND),
            (given - up, "thumbs down", _FEWEST_OF_A_KIND),
        )
        if has < least
    ]
    if short:
        raise InputError(
            f"launch-plan: too little to plan from: {', '.join(short)}. Read more of the log, or plan from numbers: "
            "--base-rate, --votes-per-user, --icc."
        )


def _effect_interval(up: np.ndarray, votes: np.ndarray) -> tuple[float, float]:
    """95% interval of the design effect over resampled users."""
    columns = np.column_stack([up, votes, up * up, up * votes, votes * votes, np.ones_like(up)])
    totals = group_totals(columns, _DRAWS, np.random.default_rng(0))
    ups, given, up2, both, given2, users = totals.T
    rate = ups / given
    inside = (rate > 0) & (rate < 1)
    squares = (up2 - 2.0 * rate * both + rate**2 * given2)[inside]
    alone = (given * rate * (1.0 - rate))[inside]
    effects = np.maximum(1.0, squares / alone * users[inside] / (users[inside] - 1.0))
    low, high = (float(end) for end in np.quantile(effects, [0.025, 0.975]))
    return low, high


def _voted() -> pl.Expr:
    return (pl.col("n_up") + pl.col("n_down")) > 0


def _times(responses: pl.DataFrame) -> _Times:
    voted = responses.filter(_voted())
    timed = voted.filter(pl.col("oldest_event_at").is_not_null(), pl.col("newest_event_at").is_not_null())
    if timed.is_empty():
        return _Times(None, None, 0, voted.height)
    first, last = timed.select(pl.col("oldest_event_at").min(), pl.col("newest_event_at").max()).row(0)
    return _Times(first, last, timed.height, voted.height)


def _days(first: datetime, last: datetime) -> float | None:
    """Days between; None below one, which says nothing of how many come in a day."""
    days = (last - first).total_seconds() / _SECONDS_A_DAY
    return days if days >= 1.0 else None


def _rating_rate(responses: pl.DataFrame) -> float | None:
    """Share of answers that were rated; None where the log holds no other. Answers that were only compared are out."""
    rated = (pl.col("n_up") + pl.col("n_down") + pl.col("n_retracted")) > 0
    compared = (pl.col("n_compared") + pl.col("n_tied") + pl.col("n_both_bad")) > 0
    shown = responses.select(rated=rated, compared=compared).filter(pl.col("rated") | ~pl.col("compared"))
    count = int(shown["rated"].sum())
    return None if count == shown.height else count / shown.height


def _said_of_log(found: Clustering, votes: int, times: _Times, span: float | None, stated: Stated) -> list[str]:
    said = []
    if votes > found.votes:
        without = votes - found.votes
        said.append(f"{without:,} of {votes:,} votes have no user id: they count for nothing here.")
    if found.repeating == 0:
        said.append("Nobody voted twice in the log, so votes are taken as independent.")
    if span is None and stated.users_per_day is None:
        why = "hold no time" if times.first is None else "span less than a day"
        said.append(f"No days: the events {why}. --users-per-day says how many users vote in one.")
    elif span is not None and times.timed < times.voted:
        said.append(f"{times.voted - times.timed:,} of {times.voted:,} answers with votes have no time.")
    return said


def _said_of_rating(basis: Basis, stated: Stated) -> list[str]:
    if basis.rating_rate is None and stated.rating_rate is None:
        return ["The log holds rated answers alone, so how many answers have to be shown is not known (--rating-rate)."]
    return []


def _overruled(basis: Basis, stated: Stated, said: list[str]) -> Basis:
    """The log's numbers with those that are stated in their place, which is said."""
    given: dict[str, Any] = {
        "base_rate": stated.base_rate,
        "votes_per_user": stated.votes_per_user,
        "variation": stated.variation,
        "icc": stated.icc,
        "rating_rate": stated.rating_rate,
        "users_per_day": stated.users_per_day,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if not changed:
        return basis
    said.append(f"Stated, not measured: {', '.join(f'{name} {value:g}' for name, value in changed.items())}.")
    basis = basis._replace(**changed)
    if changed.keys() & {"votes_per_user", "variation", "icc"}:
        effect = stated_effect(basis.votes_per_user, basis.variation, basis.icc or 0.0)
        basis = basis._replace(design_effect=effect, design_effect_low=None, design_effect_high=None)
    return basis
