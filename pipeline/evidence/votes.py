"""Events to votes: one user, one vote a response, the last one given; and the vote's weight in the evidence.

Weights are summed in whole billionths, as integers: the sum does not depend on the order of the rows, so a table
cut into partitions gives the same bytes as the whole one.
"""

from datetime import datetime
from typing import Final

import polars as pl
import pyarrow.compute as pc

from ..identity import prompt_id, response_id
from ..storage.columns import arrow_number

BALLOTS: Final = ("up", "down", "retracted")
_ORDER: Final = ("created_at", "source_file", "source_line", "event_id")
_UNITS: Final = 1_000_000_000
_US_PER_DAY: Final = 86_400_000_000.0


def divided(numbers: pl.Expr, by: float) -> pl.Expr:
    """Each number over `by`, correctly rounded.

    polars multiplies a column by the inverse of a constant, yet divides a column of one row: with its own operator the
    last bit of a quotient would say how many rows its partition has.
    """
    return numbers.map_batches(
        lambda column: pl.Series(column.name, pc.divide(column.cast(pl.Float64).to_arrow(), arrow_number(float(by)))),
        return_dtype=pl.Float64,
    )


def named(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events with `prompt_id` and `response_id`: those they bring, else made from the texts."""
    columns = events.collect_schema().names()
    if "prompt_id" not in columns:
        events = events.with_columns(prompt_id=prompt_id(pl.col("prompt"), pl.col("tools")))
    if "response_id" not in columns:
        made = response_id(pl.col("prompt_id"), pl.col("completion"), pl.col("completion_extra"))
        events = events.with_columns(response_id=made)
    return events


def in_order(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events by time, then by place in the log; an event without a time is older than all that have one."""
    return events.sort(_ORDER, nulls_last=False)


def last_votes(events: pl.LazyFrame) -> pl.LazyFrame:
    """One row a (response, voter): the last vote and how many of each the voter ever gave.

    An event without a user id is a voter of its own: nothing says that two of them are one person.

    Args:
        events: Named events.

    Returns:
        `prompt_id`, `response_id`, `voter`, `user_id`, `vote` (up, down or retracted), `created_at` of that vote,
        `ever_up` and `ever_down`.
    """
    return (
        in_order(events.filter(pl.col("vote").is_in(BALLOTS)))
        .with_columns(voter=pl.coalesce("user_id", "event_id"))
        .group_by("prompt_id", "response_id", "voter")
        .agg(
            pl.col("user_id").first(),
            pl.col("vote", "created_at").last(),
            (pl.col("vote") == "up").sum().cast(pl.Int64).alias("ever_up"),
            (pl.col("vote") == "down").sum().cast(pl.Int64).alias("ever_down"),
        )
    )


def weighed(
    votes: pl.LazyFrame, raters: pl.LazyFrame, newest: datetime | None, half_life: float | None
) -> pl.LazyFrame:
    """Votes with `units`: their weight in billionths, the rater's reliability times the vote's recency.

    Args:
        votes: As `last_votes` gives them.
        raters: `user_id` and `weight`; who is not listed weighs 1.
        newest: Time of the newest event of the whole log.
        half_life: Days after which a vote weighs half; None: age does not matter. A vote without a time keeps 1.
    """
    weighted = votes.join(raters.select("user_id", "weight"), on="user_id", how="left", validate="m:1")
    weight = pl.col("weight").fill_null(1.0) * recency(pl.col("created_at"), newest, half_life)
    return weighted.with_columns(units=(weight * _UNITS).round().cast(pl.Int64)).drop("weight")


def recency(time: pl.Expr, newest: datetime | None, half_life: float | None) -> pl.Expr:
    """0.5 ** (age in days / half-life), 1 where the time or the half-life is not known."""
    if half_life is None or newest is None:
        return pl.lit(1.0)
    age_us = (pl.lit(newest, dtype=pl.Datetime("us", "UTC")) - time).dt.total_microseconds().clip(lower_bound=0)
    return pl.lit(0.5).pow(divided(divided(age_us, _US_PER_DAY), half_life)).fill_null(1.0)


def counted(votes: pl.LazyFrame) -> pl.LazyFrame:
    """Votes counted per response: whole votes, and `up_evidence` and `down_evidence`, their weighed sums."""

    def count(vote: str) -> pl.Expr:
        return (pl.col("vote") == vote).sum().cast(pl.Int64).alias(f"n_{vote}")

    def units(vote: str) -> pl.Expr:
        return pl.col("units").filter(pl.col("vote") == vote).sum().alias(f"{vote}_evidence")

    counts = votes.group_by("response_id").agg(
        *[count(vote) for vote in BALLOTS],
        units("up"),
        units("down"),
        pl.col("created_at").filter(pl.col("vote") != "retracted").max().alias("voted_at"),
    )
    return counts.with_columns(divided(pl.col(name), _UNITS) for name in ("up_evidence", "down_evidence"))
