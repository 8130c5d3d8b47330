"""Comparison events to counts: how often one answer was chosen over another, and how often neither was.

The sides of one comparison share a `comparison_id`; more than two sides (a ranking told as several choices) are
compared two by two. A user has one say a pair of answers and kind, the last one; a comparison without a user is one
of its own. Whatever is counted in no row of table `comparisons` is a row of table `comparison_drops`, with its reason.
"""

from typing import Final

import polars as pl

from ..errors import TableError
from ..storage.manifests import value_counts
from ..tables import COMPARISON_DROP, COMPARISON_KIND, polars_schema
from .votes import in_order

SIDES: Final = ("chosen", "rejected", "tied", "both_bad")
COUNTED: Final = ("n_chosen", "n_rejected", "n_tied", "n_both_bad")
_RESULT: Final = ("n_first", "n_second", "n_tied", "n_both_bad")
_COMPARISON: Final = ("prompt_id", "comparison_id")
_SAY: Final = ("prompt_id", "kind", "first", "second", "voter")


def _sides(events: pl.LazyFrame) -> pl.LazyFrame:
    """One row a (comparison, answer): what was said of it last."""
    return (
        in_order(events.filter(pl.col("comparison_id").is_not_null() & pl.col("vote").is_in(SIDES)))
        .group_by(*_COMPARISON, "response_id")
        .agg(
            pl.col("vote", "created_at", "source_file", "source_line", "event_id").last(),
            pl.col("user_id").drop_nulls().first(),
            pl.col("comparison_kind").drop_nulls().first().alias("kind"),
            said_twice=(pl.col("vote").n_unique() > 1) | (_is_draw() & (pl.col("deliveries").sum() > 1)).any(),
        )
        .with_columns(pl.col("kind").cast(pl.String).fill_null("preference"))
    )


def _is_draw() -> pl.Expr:
    return pl.col("vote").is_in(["tied", "both_bad"])


def comparisons_said(events: pl.LazyFrame) -> int:
    """How many comparisons of two answers the events tell, those that tell of one answer only included.

    Of a comparison with c chosen, r rejected, t tied and b bad answers they are c r + t (t - 1) / 2 + b (b - 1) / 2,
    or one where that is none.
    """
    votes = {name: (pl.col("vote") == name).sum().cast(pl.Int64) for name in SIDES}
    each = _sides(events).group_by(_COMPARISON).agg(**votes)
    draws = [pl.col(name) * (pl.col(name) - 1) // 2 for name in ("tied", "both_bad")]
    told = pl.col("chosen") * pl.col("rejected") + pl.sum_horizontal(draws)
    return int(each.select(pl.max_horizontal(told, pl.lit(1)).sum()).collect().item())


def check_counted(events: pl.LazyFrame, comparisons: pl.DataFrame, drops: pl.DataFrame) -> None:
    """Raise TableError unless each comparison of the events is counted in one of the two tables."""
    said = comparisons_said(events)
    counted = _counted(comparisons)
    if said != counted + drops.height:
        raise TableError(
            f"responses: the events tell {said:,} comparisons of two answers, but {counted:,} are counted and "
            f"{drops.height:,} are in comparison_drops."
        )


def _counted(comparisons: pl.DataFrame) -> int:
    return int(comparisons.select(pl.sum_horizontal(COUNTED).sum()).item())


def comparison_lines(comparisons: pl.DataFrame, drops: pl.DataFrame) -> list[str]:
    """What a person should know of comparisons that are not counted; nothing where all are."""
    if drops.is_empty():
        return []
    counted = _counted(comparisons)
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in value_counts(drops["reason"]).items())
    total = counted + drops.height
    return [f"{counted:,} of {total:,} comparisons are counted; the others are in comparison_drops: {reasons}."]


def judgements(events: pl.LazyFrame, kept: pl.LazyFrame) -> pl.LazyFrame:
    """One row a comparison of two answers that the events tell.

    Args:
        events: Named events.
        kept: `response_id` of the answers that stay.

    Returns:
        `prompt_id`, `comparison_id`, `kind`, `user_id`, `first`, `second` (response ids in order; null where the
        comparison tells of one answer only), `result` (first, second, tied or both_bad; null where it has none) and
        `reason`, null where it counts.
    """
    sides = _sides(events)
    other = sides.select(*_COMPARISON, other_id="response_id", other_vote="vote")
    # Three answers ranked in one comparison meet two by two: many rows to many, within one comparison.
    met = sides.join(other, on=_COMPARISON, how="inner", validate="m:m").filter(
        pl.col("response_id") < pl.col("other_id")
    )
    told = met.with_columns(result=_result()).filter(pl.col("result").is_not_null())
    last = pl.col("result").last().over(_SAY)
    is_last = pl.int_range(pl.len()).over(_SAY) == pl.len().over(_SAY) - 1
    said = (
        in_order(told.rename({"response_id": "first", "other_id": "second"}))
        .with_columns(voter=pl.coalesce("user_id", "comparison_id"))
        .with_columns(
            reason=pl.when(~is_last & (pl.col("result") == last))
            .then(pl.lit("repeated"))
            .when(~is_last)
            .then(pl.lit("changed_mind"))
        )
    )
    columns = [*_COMPARISON, "kind", "user_id", "first", "second", "result", "reason"]
    untold = _untold(sides, told).select(columns)
    return _screened(pl.concat([said.select(columns), untold]), kept)


def _untold(sides: pl.LazyFrame, told: pl.LazyFrame) -> pl.LazyFrame:
    """Comparisons that compare no two answers: one side is missing, both are one text, or the sides do not fit."""
    alone = sides.join(told.select(_COMPARISON), on=_COMPARISON, how="anti")
    by_comparison = alone.group_by(_COMPARISON).agg(
        pl.col("kind").min(),
        pl.col("user_id").drop_nulls().min(),
        pl.col("said_twice").any(),
        first=pl.col("response_id").min(),
        second=pl.when(pl.len() > 1).then(pl.col("response_id").max()),
    )
    reason = (
        pl.when(pl.col("second").is_not_null())
        .then(pl.lit("unclear"))
        .when("said_twice")
        .then(pl.lit("identical_text"))
        .otherwise(pl.lit("missing_side"))
    )
    return by_comparison.with_columns(result=pl.lit(None, pl.String), reason=reason)


def _screened(rows: pl.LazyFrame, kept: pl.LazyFrame) -> pl.LazyFrame:
    """The rows, those that would count marked where one of their answers does not stay."""
    stays = kept.select("response_id", stays=pl.lit(True))
    for name in ("first", "second"):
        found = stays.rename({"response_id": name, "stays": f"{name}_stays"})
        rows = rows.join(found, on=name, how="left", validate="m:1")
    gone = pl.col("first_stays").is_null() | pl.col("second_stays").is_null()
    return rows.with_columns(reason=pl.coalesce("reason", pl.when(gone).then(pl.lit("screened"))))


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


def results() -> list[pl.Expr]:
    """How many rows of a group have each result."""
    return [(pl.col("result") == name.removeprefix("n_")).sum().cast(pl.Int64).alias(name) for name in _RESULT]


def counted_comparisons(judged: pl.LazyFrame) -> pl.LazyFrame:
    """Table `comparisons`: counts a (pair, kind) of what counts, the more often chosen answer named `chosen`."""
    counts = judged.filter(pl.col("reason").is_null()).group_by("prompt_id", "kind", "first", "second").agg(results())
    wins = pl.when(pl.col("n_first") >= pl.col("n_second"))
    return counts.select(
        "prompt_id",
        kind=pl.col("kind").cast(COMPARISON_KIND),
        chosen_response_id=wins.then("first").otherwise("second"),
        rejected_response_id=wins.then("second").otherwise("first"),
        n_chosen=pl.max_horizontal("n_first", "n_second"),
        n_rejected=pl.min_horizontal("n_first", "n_second"),
        n_tied="n_tied",
        n_both_bad="n_both_bad",
    ).sort("prompt_id", "chosen_response_id", "rejected_response_id", "kind")


def comparison_drops(judged: pl.LazyFrame) -> pl.LazyFrame:
    """Table `comparison_drops`: what counts in no row of `comparisons`."""
    dropped = judged.filter(pl.col("reason").is_not_null()).with_columns(
        pl.col("kind").cast(COMPARISON_KIND),
        pl.col("reason").cast(COMPARISON_DROP),
        response_id="first",
        other_response_id="second",
    )
    order = ["prompt_id", "comparison_id", "response_id", "other_response_id"]
    return dropped.select(list(polars_schema("comparison_drops"))).sort(order)
