"""Votes and comparisons that contradict each other: of different users, and of one user at two times."""

import polars as pl

from ..tables import polars_schema
from .comparisons import results


def contradictions(votes: pl.LazyFrame, judged: pl.LazyFrame) -> pl.LazyFrame:
    """Table `contradictions` of some prompts, sorted.

    Args:
        votes: As `votes.last_votes` gives them.
        judged: As `comparisons.judgements` gives them.
    """
    rows = [*_of_votes(votes), *_of_comparisons(judged)]
    found = pl.concat([row.select(list(polars_schema("contradictions"))) for row in rows])
    return found.sort("prompt_id", "response_id", "kind", "other_response_id", "user_id")


def _of_votes(votes: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Responses with both labels, by different voters, and users who changed their mind about one."""
    both = votes.group_by("prompt_id", "response_id").agg(
        n_up=(pl.col("vote") == "up").sum().cast(pl.Int64),
        n_down=(pl.col("vote") == "down").sum().cast(pl.Int64),
    )
    changed = votes.select("prompt_id", "response_id", "user_id", n_up="ever_up", n_down="ever_down")
    contradicted = (pl.col("n_up") > 0) & (pl.col("n_down") > 0)
    nobody, no_other = pl.lit(None, pl.String), pl.lit(None, pl.String)
    return [
        both.filter(contradicted).with_columns(_kind("both_labels"), user_id=nobody, other_response_id=no_other),
        changed.filter(contradicted).with_columns(_kind("changed_mind"), other_response_id=no_other),
    ]


def _of_comparisons(judged: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Two answers of which each was chosen over the other, and users who chose otherwise later, a draw included.

    `n_up` is how often the first answer was chosen over the other, `n_down` how often the other was.
    """
    pair = ("prompt_id", "first", "second")
    told = judged.filter(pl.col("result").is_not_null())
    both = told.filter(pl.col("reason").is_null()).group_by(pair).agg(results())
    both = both.filter((pl.col("n_first") > 0) & (pl.col("n_second") > 0))
    named = told.filter(pl.col("user_id").is_not_null())
    said = named.group_by(*pair, "kind", "user_id").agg(*results(), several=pl.col("result").n_unique() > 1)
    changed = said.filter("several").group_by(*pair, "user_id").agg(pl.col("n_first", "n_second").sum())
    ends = {"response_id": "first", "other_response_id": "second", "n_up": "n_first", "n_down": "n_second"}
    return [
        both.select("prompt_id", _kind("both_chosen"), user_id=pl.lit(None, pl.String), **ends),
        changed.select("prompt_id", "user_id", _kind("changed_choice"), **ends),
    ]


def _kind(name: str) -> pl.Expr:
    return pl.lit(name).cast(polars_schema("contradictions")["kind"]).alias("kind")
