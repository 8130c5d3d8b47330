"""Events to responses: who voted last and how, counted per (prompt, completion), and what the votes say.

A user has one vote a response, the last one given; a retraction removes it. An event without a user id is a
voter of its own. The share of users who would vote up gets a Beta posterior; the label is desirable or
undesirable where the posterior is sure enough, else the stage abstains and says why.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import special

from pipeline.artifacts import Counts
from pipeline.config import ResponsesConfig
from pipeline.context import StageContext, StageResult
from pipeline.identity import prompt_id, response_id
from pipeline.tables import ABSTAIN_REASON, LABEL, polars_schema

VERSION = 1
INPUTS = ("events",)
OUTPUTS = ("responses", "comparisons")

_VOTE_ORDER = ("created_at", "source_file", "source_line", "event_id")


class Responses(NamedTuple):
    """The two tables that this stage makes."""

    responses: pl.LazyFrame
    comparisons: pl.LazyFrame


def transform(events: pl.LazyFrame, config: ResponsesConfig) -> Responses:
    """Responses with counted votes and labels, and the explicit comparisons between them.

    Args:
        events: Table `events`.
        config: Prior, confidence and interval.

    Returns:
        Tables `responses` and `comparisons`, each sorted by its ids.
    """
    named = events.with_columns(prompt_id=prompt_id(pl.col("prompt"))).with_columns(
        response_id=response_id(pl.col("prompt_id"), pl.col("completion"))
    )
    texts = _texts(named)
    counted = texts.join(_last_votes(named), on="response_id", how="left", validate="1:1").with_columns(
        pl.col("n_up", "n_down", "n_retracted").fill_null(0)
    )
    judged = _label(_posterior(counted, config), config)
    return Responses(
        judged.select(list(polars_schema("responses"))).sort("response_id"),
        _comparisons(named),
    )


def _texts(named: pl.LazyFrame) -> pl.LazyFrame:
    """One row a response; spellings that are the same text share the one of the smallest event id."""
    ordered = named.sort("event_id")
    prompts = ordered.group_by("prompt_id").agg(pl.col("prompt").first())
    responses = ordered.group_by("response_id").agg(
        pl.col("prompt_id").first(),
        pl.col("completion").first(),
        pl.col("model").drop_nulls().min(),
        pl.col("conversation_id").drop_nulls().unique().sort().alias("conversation_ids"),
        pl.len().cast(pl.Int64).alias("n_events"),
        pl.col("vote").is_in(["chosen", "rejected", "tied", "both_bad"]).sum().cast(pl.Int64).alias("n_compared"),
    )
    return responses.join(prompts, on="prompt_id", how="left", validate="m:1")


def _last_votes(named: pl.LazyFrame) -> pl.LazyFrame:
    """Votes counted per response: each user's last one, by time and then by place in the log."""
    voter = pl.coalesce(pl.col("user_id"), pl.col("event_id"))
    last = (
        named.filter(pl.col("vote").is_in(["up", "down", "retracted"]))
        .with_columns(voter=voter)
        .sort(_VOTE_ORDER, nulls_last=False)
        .group_by("response_id", "voter")
        .agg(pl.col("vote").last())
    )
    return last.group_by("response_id").agg(
        (pl.col("vote") == "up").sum().cast(pl.Int64).alias("n_up"),
        (pl.col("vote") == "down").sum().cast(pl.Int64).alias("n_down"),
        (pl.col("vote") == "retracted").sum().cast(pl.Int64).alias("n_retracted"),
    )


def _posterior(counted: pl.LazyFrame, config: ResponsesConfig) -> pl.LazyFrame:
    """Mean, credible interval and P(share > 1/2) of Beta(prior_up + n_up, prior_down + n_down)."""
    ups = pl.col("n_up") + config.prior_up
    downs = pl.col("n_down") + config.prior_down
    tail = (1.0 - config.interval) / 2.0
    return counted.with_columns(
        posterior_mean=ups / (ups + downs),
        posterior_low=_beta_quantile(ups, downs, tail),
        posterior_high=_beta_quantile(ups, downs, 1.0 - tail),
        probability_desirable=_beta_above_half(ups, downs),
    )


def _beta_quantile(ups: pl.Expr, downs: pl.Expr, probability: float) -> pl.Expr:
    return pl.map_batches(
        [ups, downs],
        lambda columns: pl.Series(special.betaincinv(columns[0].to_numpy(), columns[1].to_numpy(), probability)),
        return_dtype=pl.Float64,
    )


def _beta_above_half(ups: pl.Expr, downs: pl.Expr) -> pl.Expr:
    # P(share > 1/2) as the lower tail of the mirrored Beta: exact where 1 - P(share <= 1/2) would cancel.
    return pl.map_batches(
        [ups, downs],
        lambda columns: pl.Series(special.betainc(columns[1].to_numpy(), columns[0].to_numpy(), np.float64(0.5))),
        return_dtype=pl.Float64,
    )


def _label(judged: pl.LazyFrame, config: ResponsesConfig) -> pl.LazyFrame:
    voted = (pl.col("n_up") + pl.col("n_down")) > 0
    desirable = pl.col("probability_desirable")
    label = (
        pl.when(voted & (desirable > config.min_confidence))
        .then(pl.lit("desirable"))
        .when(voted & (1.0 - desirable > config.min_confidence))
        .then(pl.lit("undesirable"))
        .otherwise(pl.lit("abstain"))
    )
    reason = (
        pl.when(label != "abstain")
        .then(pl.lit(None, dtype=pl.String))
        .when(voted & (pl.col("n_up") == pl.col("n_down")))
        .then(pl.lit("tied"))
        .when(voted)
        .then(pl.lit("low_confidence"))
        .when(pl.col("n_retracted") > 0)
        .then(pl.lit("retracted"))
        .when(pl.col("n_compared") > 0)
        .then(pl.lit("comparison_only"))
        .otherwise(pl.lit("unrated"))
    )
    confidence = pl.max_horizontal(desirable, 1.0 - desirable)
    return judged.with_columns(
        label=label.cast(LABEL),
        abstain_reason=reason.cast(ABSTAIN_REASON),
        weight=pl.when(voted).then(2.0 * confidence - 1.0).otherwise(0.0),
    )


def _comparisons(named: pl.LazyFrame) -> pl.LazyFrame:
    """How often one response was chosen over another, with the more often chosen one named `chosen`."""
    sides = named.filter(pl.col("comparison_id").is_not_null())
    chosen = sides.filter(pl.col("vote") == "chosen").select("comparison_id", "prompt_id", a="response_id")
    rejected = sides.filter(pl.col("vote") == "rejected").select("comparison_id", b="response_id")
    votes = chosen.join(rejected, on="comparison_id", how="inner", validate="1:1").filter(pl.col("a") != pl.col("b"))
    first, second = pl.min_horizontal("a", "b"), pl.max_horizontal("a", "b")
    counted = (
        votes.group_by("prompt_id", first=first, second=second)
        .agg(
            (pl.col("a") == first).sum().cast(pl.Int64).alias("n_first"),
            (pl.col("a") == second).sum().cast(pl.Int64).alias("n_second"),
        )
        .with_columns(first_wins=pl.col("n_first") >= pl.col("n_second"))
    )
    wins = pl.when("first_wins")
    return counted.select(
        "prompt_id",
        chosen_response_id=wins.then("first").otherwise("second"),
        rejected_response_id=wins.then("second").otherwise("first"),
        n_chosen=pl.max_horizontal("n_first", "n_second"),
        n_rejected=pl.min_horizontal("n_first", "n_second"),
    ).sort("chosen_response_id", "rejected_response_id")


def run(context: StageContext) -> StageResult:
    """Read `events`, write `responses` and `comparisons`."""
    events = context.read("events")
    made = transform(events.lazy(), context.config.responses)
    responses, comparisons = pl.collect_all([made.responses, made.comparisons])
    contradictory = responses.filter((pl.col("n_up") > 0) & (pl.col("n_down") > 0)).height
    return StageResult(
        outputs={
            "responses": context.write("responses", responses),
            "comparisons": context.write("comparisons", comparisons),
        },
        counts=Counts(rows_in=events.height, rows_out=responses.height, merged=events.height - responses.height),
        notes={
            "prompts": responses["prompt_id"].n_unique(),
            "labels": _value_counts(responses["label"]),
            "abstain_reasons": _value_counts(responses["abstain_reason"].drop_nulls()),
            "responses_with_both_votes": contradictory,
            "comparisons": comparisons.height,
        },
    )


def _value_counts(values: pl.Series) -> dict[str, int]:
    return {str(value): count for value, count in values.value_counts().sort(values.name).iter_rows()}
