"""Responses to DPO/ORPO-ready pairs: which response to a prompt is the better one, and how surely.

Pairs come from votes (two responses to one prompt whose posterior means differ enough) and from explicit
comparisons. The soft label `chosen_better_probability` is the posterior probability that chosen really is
better. What did not become a pair is counted in `pair_yield`, with what would change it.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import special

from pipeline.artifacts import Counts
from pipeline.config import PairsConfig, ResponsesConfig
from pipeline.context import StageContext, StageResult
from pipeline.identity import as_answer, digest, joined
from pipeline.tables import PAIR_SOURCE, polars_schema

VERSION = 1
INPUTS = ("responses", "comparisons")
OUTPUTS = ("pairs", "pair_yield")

# Midpoint rule for P(chosen > rejected): with 512 quantiles of chosen the error stays below 1e-4 for counts
# from 0 to 1,000 (tests/unit/stages/test_pairs.py compares it with adaptive quadrature).
_QUANTILES = 512
_ADVICE = {
    "paired": "",
    "one_response": "Sample several answers a prompt, or collect regenerations: one answer cannot make a pair.",
    "fewer_than_two_votes": "Show the rating buttons on every answer: fewer than two answers were rated.",
    "one_label_only": "All rated answers agree; KTO uses them, or set pairs.opposite_labels to false.",
    "below_margin": "The votes differ too little: collect more votes an answer, or lower pairs.min_margin.",
    "different_models": "The better and the worse answer are of different models: set pairs.same_model to false.",
}


class Pairs(NamedTuple):
    """The two tables that this stage makes."""

    pairs: pl.LazyFrame
    pair_yield: pl.LazyFrame


def transform(responses: pl.LazyFrame, comparisons: pl.LazyFrame, config: PairsConfig, prior: ResponsesConfig) -> Pairs:
    """Pairs of two responses to one prompt, and what became of every prompt.

    Args:
        responses: Table `responses`.
        comparisons: Table `comparisons`.
        config: Strategy and thresholds.
        prior: The Beta prior that the responses' posteriors were made with.

    Returns:
        Tables `pairs` (sorted by pair id) and `pair_yield`.
    """
    sides = [_vote_sides(responses, config, prior)]
    if config.comparisons:
        sides.insert(0, _comparison_sides(comparisons))
    # A pair that both votes and a comparison make is kept once, as the comparison: that is direct evidence.
    both = pl.concat(sides).unique(["chosen_response_id", "rejected_response_id"], keep="first", maintain_order=True)
    pairs = _with_texts(both, responses).select(list(polars_schema("pairs"))).sort("pair_id")
    return Pairs(pairs, _yield(responses, pairs, config))


def _vote_sides(responses: pl.LazyFrame, config: PairsConfig, prior: ResponsesConfig) -> pl.LazyFrame:
    voted = responses.filter(pl.col("n_up") + pl.col("n_down") > 0)
    if config.opposite_labels:
        voted = voted.filter(pl.col("label") != "abstain")
    place = ["prompt_id", "model"] if config.same_model else ["prompt_id"]
    candidates = voted.select(*place, "response_id", "label", "posterior_mean", "n_up", "n_down")
    if config.strategy == "best_worst":
        candidates = _extremes(candidates, place)
    chosen, rejected = candidates, candidates.rename(lambda name: name if name in place else f"{name}_rejected")
    crossed = chosen.join(rejected, on=place, how="inner", nulls_equal=True).with_columns(
        margin=pl.col("posterior_mean") - pl.col("posterior_mean_rejected")
    )
    kept = crossed.filter((pl.col("margin") > 0) & (pl.col("margin") >= config.min_margin))
    if config.opposite_labels:
        kept = kept.filter((pl.col("label") == "desirable") & (pl.col("label_rejected") == "undesirable"))
    limit = 1 if config.strategy == "best_worst" else config.max_per_prompt
    ranked = kept.sort(
        ["prompt_id", "margin", "response_id", "response_id_rejected"], descending=[False, True, False, False]
    )
    return (
        ranked.group_by("prompt_id", maintain_order=True)
        .head(limit)
        .select(
            "prompt_id",
            chosen_response_id="response_id",
            rejected_response_id="response_id_rejected",
            pair_source=pl.lit("votes").cast(PAIR_SOURCE),
            margin="margin",
            chosen_better_probability=_better(prior),
        )
    )


def _extremes(candidates: pl.LazyFrame, place: list[str]) -> pl.LazyFrame:
    """The best and the worst candidate of each prompt: the one with more votes where means are equal."""
    votes = pl.col("n_up") + pl.col("n_down")
    best = candidates.sort(["posterior_mean", votes, "response_id"], descending=[True, True, False])
    worst = candidates.sort(["posterior_mean", votes, "response_id"], descending=[False, True, False])
    ends = [ordered.group_by(place, maintain_order=True).first() for ordered in (best, worst)]
    return pl.concat([end.select(candidates.collect_schema().names()) for end in ends]).unique(
        "response_id", maintain_order=True
    )


def _better(prior: ResponsesConfig) -> pl.Expr:
    """P(chosen's share of up votes > rejected's) under the two independent Beta posteriors."""
    shapes = [
        pl.col("n_up") + prior.prior_up,
        pl.col("n_down") + prior.prior_down,
        pl.col("n_up_rejected") + prior.prior_up,
        pl.col("n_down_rejected") + prior.prior_down,
    ]
    return pl.map_batches(
        shapes,
        lambda columns: pl.Series(beta_greater(*(column.to_numpy() for column in columns))),
        return_dtype=pl.Float64,
    )


def beta_greater(ups: np.ndarray, downs: np.ndarray, other_ups: np.ndarray, other_downs: np.ndarray) -> np.ndarray:
    """P(X > Y) for X ~ Beta(ups, downs) and Y ~ Beta(other_ups, other_downs), independent.

    Args:
        ups: (n,) float64, above 0.
        downs: (n,) float64, above 0.
        other_ups: (n,) float64, above 0.
        other_downs: (n,) float64, above 0.

    Returns:
        (n,) float64: the mean of Y's distribution function over the quantiles of X, by the midpoint rule.
    """
    shapes, inverse = np.unique(np.stack([ups, downs, other_ups, other_downs], axis=1), axis=0, return_inverse=True)
    middle = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = special.betaincinv(shapes[:, 0:1], shapes[:, 1:2], middle)
    probability = special.betainc(shapes[:, 2:3], shapes[:, 3:4], quantiles).mean(axis=1)
    return np.asarray(probability[inverse.reshape(-1)], dtype=np.float64)


def _comparison_sides(comparisons: pl.LazyFrame) -> pl.LazyFrame:
    """Explicit comparisons that are not a draw; the soft label has a uniform prior."""
    total = pl.col("n_chosen") + pl.col("n_rejected")
    probability = (pl.col("n_chosen") + 1.0) / (total + 2.0)
    return comparisons.filter(pl.col("n_chosen") > pl.col("n_rejected")).select(
        "prompt_id",
        "chosen_response_id",
        "rejected_response_id",
        pair_source=pl.lit("comparison").cast(PAIR_SOURCE),
        margin=(pl.col("n_chosen") - pl.col("n_rejected")) / total,
        chosen_better_probability=probability,
    )


def _with_texts(sides: pl.LazyFrame, responses: pl.LazyFrame) -> pl.LazyFrame:
    texts = responses.select("response_id", "prompt", "completion")
    chosen = texts.select(chosen_response_id="response_id", prompt="prompt", chosen=as_answer(pl.col("completion")))
    rejected = texts.select(rejected_response_id="response_id", rejected=as_answer(pl.col("completion")))
    return (
        sides.join(chosen, on="chosen_response_id", how="left", validate="m:1")
        .join(rejected, on="rejected_response_id", how="left", validate="m:1")
        .with_columns(pair_id=digest(joined(pl.col("chosen_response_id"), pl.col("rejected_response_id"))))
    )


def _yield(responses: pl.LazyFrame, pairs: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    voted = pl.col("n_up") + pl.col("n_down") > 0
    prompts = responses.group_by("prompt_id").agg(
        n_responses=pl.len(),
        n_voted=voted.sum(),
        n_desirable=(pl.col("label") == "desirable").sum(),
        n_undesirable=(pl.col("label") == "undesirable").sum(),
        spread=pl.col("posterior_mean").filter(voted).max() - pl.col("posterior_mean").filter(voted).min(),
    )
    paired = pairs.select("prompt_id").unique().with_columns(paired=pl.lit(True))
    one_label = pl.min_horizontal("n_desirable", "n_undesirable") == 0
    outcome = (
        pl.when(pl.col("paired"))
        .then(pl.lit("paired"))
        .when(pl.col("n_responses") == 1)
        .then(pl.lit("one_response"))
        .when(pl.col("n_voted") < 2)
        .then(pl.lit("fewer_than_two_votes"))
        .when(one_label if config.opposite_labels else pl.lit(False))
        .then(pl.lit("one_label_only"))
        .when((pl.col("spread") > 0) & (pl.col("spread") >= config.min_margin))
        .then(pl.lit("different_models"))
        .otherwise(pl.lit("below_margin"))
    )
    counted = (
        prompts.join(paired, on="prompt_id", how="left", validate="1:1")
        .group_by(outcome=outcome)
        .agg(n_prompts=pl.len().cast(pl.Int64))
    )
    known = pl.LazyFrame({"outcome": list(_ADVICE), "advice": list(_ADVICE.values())})
    return known.join(counted, on="outcome", how="left", maintain_order="left").select(
        "outcome", pl.col("n_prompts").fill_null(0), "advice"
    )


def run(context: StageContext) -> StageResult:
    """Read `responses` and `comparisons`, write `pairs` and `pair_yield`."""
    responses, comparisons = context.read("responses"), context.read("comparisons")
    made = transform(responses.lazy(), comparisons.lazy(), context.config.pairs, context.config.responses)
    pairs, pair_yield = pl.collect_all([made.pairs, made.pair_yield])
    paired = int(pair_yield.filter(pl.col("outcome") == "paired")["n_prompts"].sum())
    prompts = int(pair_yield["n_prompts"].sum())
    return StageResult(
        outputs={"pairs": context.write("pairs", pairs), "pair_yield": context.write("pair_yield", pair_yield)},
        counts=Counts(rows_in=prompts, rows_out=paired, rejected=prompts - paired),
        notes={"pairs": pairs.height, "rows_are": "prompts"},
    )
