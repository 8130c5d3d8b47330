"""What became of every prompt on the way to pairs, and what would change it: table `pair_yield`."""

from typing import Any, Final

import polars as pl

from ..config import PairsConfig

_ADVICE: Final = {
    "paired": "",
    "one_response": "Sample several answers a prompt, or collect regenerations: one answer cannot make a pair. "
    "pairs.group_prompts pairs answers across prompts that are nearly the same.",
    "fewer_than_two_votes": "Show the rating buttons on every answer: fewer than two answers were rated.",
    "one_label_only": "All rated answers agree; KTO uses them, or set pairs.opposite_labels to false.",
    "low_confidence": "Too few labels are sure: collect more votes an answer, or lower responses.min_confidence.",
    "tied": "Votes or comparisons are even: collect more of them.",
    "below_margin": "The votes differ too little: collect more votes an answer, or lower pairs.min_margin.",
    "near_identical": "The better and the worse answer are nearly one text: sample more varied ones, or raise "
    "pairs.max_similarity.",
    "different_models": "The better and the worse answer are of different models, or not of the one asked for: set "
    "pairs.same_model to false, or pairs.model to null.",
}


def yield_of(placed: pl.LazyFrame, sides: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    """Table `pair_yield` of one set of prompts; those of several are added up by `added_yields`.

    Args:
        placed: Rows of table `responses` with `pair_group`, the group of prompts that they can be paired in.
        sides: Schema `sides.LAYOUT`: each two answers, with the reason where they make no pair.
        config: Strategies and thresholds.
    """
    voted = pl.col("up_evidence") + pl.col("down_evidence") > 0
    mean = pl.col("posterior_mean").filter(voted)
    prompts = placed.group_by("pair_group").agg(
        n_responses=pl.len(),
        n_voted=voted.sum(),
        n_abstained=(voted & (pl.col("label") == "abstain")).sum(),
        n_desirable=(pl.col("label") == "desirable").sum(),
        n_undesirable=(pl.col("label") == "undesirable").sum(),
        spread=mean.max() - mean.min(),
    )
    reason = pl.col("reason")
    seen = sides.group_by("pair_group").agg(
        paired=reason.is_null().any(),
        alike=reason.is_in(["identical_text", "near_identical"]).any(),
        drawn=reason.is_in(["tied", "both_bad"]).any(),
        other=(reason == "other_model").any(),
    )
    counted = (
        prompts.join(seen, on="pair_group", how="left", validate="1:1")
        .with_columns(pl.col("paired", "alike", "drawn", "other").fill_null(False))
        .group_by(outcome=_outcome(config))
        .agg(n_prompts=pl.len().cast(pl.Int64))
    )
    known = pl.LazyFrame({"outcome": list(_ADVICE), "advice": list(_ADVICE.values())})
    return known.join(counted, on="outcome", how="left", maintain_order="left", validate="1:1").select(
        "outcome", pl.col("n_prompts").fill_null(0), "advice"
    )


def _outcome(config: PairsConfig) -> pl.Expr:
    """The first of these that holds of a prompt."""
    one_label = pl.lit(config.opposite_labels) & (pl.min_horizontal("n_desirable", "n_undesirable") == 0)
    labelled = pl.col("n_desirable") + pl.col("n_undesirable")
    even = (pl.col("spread") == 0) & ((labelled == 0) | pl.lit(not config.opposite_labels))
    wide = (pl.col("spread") > 0) & (pl.col("spread") >= config.min_margin)
    cases = {
        "paired": pl.col("paired"),
        "one_response": pl.col("n_responses") == 1,
        "near_identical": pl.col("alike"),
        "different_models": pl.col("other"),
        "tied": pl.col("drawn") | ((pl.col("n_voted") > 1) & even),
        "fewer_than_two_votes": pl.col("n_voted") < 2,
        "low_confidence": one_label & (pl.col("n_abstained") > 0),
        "one_label_only": one_label,
    }
    otherwise = pl.when(wide).then(pl.lit("different_models")).otherwise(pl.lit("below_margin"))
    return pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, holds in cases.items()), otherwise)


def added_yields(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Table `pair_yield` of all parts."""
    rows = pl.concat(parts)
    return rows.group_by("outcome", maintain_order=True).agg(pl.col("n_prompts").sum(), pl.col("advice").first())


def missed_prompts(pair_yield: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Prompts without a pair by what became of them, each with what would change it."""
    missed = pair_yield.filter((pl.col("n_prompts") > 0) & (pl.col("outcome") != "paired"))
    return {row.pop("outcome"): row for row in missed.to_dicts()}
