"""Comparison events to counts: how often one answer was chosen over another, and how often neither was.

The sides of one comparison share a `comparison_id`; more than two sides (a ranking told as several choices) are
compared two by two. A user has one say a pair of answers and kind, the last one; a comparison without a user is one
of its own.
"""

from typing import Final

import polars as pl

from ..tables import COMPARISON_KIND
from .votes import in_order

SIDES: Final = ("chosen", "rejected", "tied", "both_bad")
_RESULT: Final = ("n_first", "n_second", "n_tied", "n_both_bad")


def last_comparisons(events: pl.LazyFrame) -> pl.LazyFrame:
    """One row a (pair of answers, kind, voter): what the voter said last.

    Args:
        events: Named events.

    Returns:
        `prompt_id`, `kind`, `first`, `second` (response ids in order), `result`: first, second, tied or both_bad.
    """
    sides = (
        in_order(events.filter(pl.col("comparison_id").is_not_null() & pl.col("vote").is_in(SIDES)))
        .group_by("prompt_id", "comparison_id", "response_id")
        .agg(
            pl.col("vote", "created_at", "source_file", "source_line", "event_id").last(),
            pl.col("user_id").drop_nulls().first(),
            pl.col("comparison_kind").drop_nulls().first().alias("kind"),
        )
        .with_columns(pl.col("kind").cast(pl.String).fill_null("preference"))
    )
    other = sides.select("prompt_id", "comparison_id", other_id="response_id", other_vote="vote")
    # Three answers ranked in one comparison meet two by two: many rows to many, within one comparison.
    met = sides.join(other, on=["prompt_id", "comparison_id"], how="inner", validate="m:m").filter(
        pl.col("response_id") < pl.col("other_id")
    )
    return (
        in_order(met.with_columns(result=_result()).filter(pl.col("result").is_not_null()))
        .with_columns(voter=pl.coalesce("user_id", "comparison_id"))
        .group_by("prompt_id", "kind", "voter", first="response_id", second="other_id")
        .agg(pl.col("result").last())
    )


def _result() -> pl.Expr:
    vote, other = pl.col("vote"), pl.col("other_vote")
    return (
        pl.when((vote == "chosen") & (other == "rejected"))
        .then(pl.lit("first"))
        .when((vote == "rejected") & (other == "chosen"))
        .then(pl.lit("second"))
        .when((vote == other) & vote.is_in(["tied", "both_bad"]))
        .then(vote.cast(pl.String))
    )


def counted_comparisons(events: pl.LazyFrame) -> pl.LazyFrame:
    """Table `comparisons`, unsorted: counts a (pair, kind), the more often chosen answer named `chosen`."""
    counts = [(pl.col("result") == name.removeprefix("n_")).sum().cast(pl.Int64).alias(name) for name in _RESULT]
    tally = last_comparisons(events).group_by("prompt_id", "kind", "first", "second").agg(*counts)
    wins = pl.when(pl.col("n_first") >= pl.col("n_second"))
    return tally.select(
        "prompt_id",
        kind=pl.col("kind").cast(COMPARISON_KIND),
        chosen_response_id=wins.then("first").otherwise("second"),
        rejected_response_id=wins.then("second").otherwise("first"),
        n_chosen=pl.max_horizontal("n_first", "n_second"),
        n_rejected=pl.min_horizontal("n_first", "n_second"),
        n_tied="n_tied",
        n_both_bad="n_both_bad",
    )
