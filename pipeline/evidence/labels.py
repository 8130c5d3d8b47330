"""Counted votes to a label: the posterior of the share that would vote up, and whether it is sure enough."""

import polars as pl

from ..config import ResponsesConfig
from ..tables import ABSTAIN_REASON, LABEL
from .posterior import beta_above_half, beta_quantile


def with_posterior(with_votes: pl.LazyFrame, config: ResponsesConfig) -> pl.LazyFrame:
    """Mean, credible interval and P(share > 1/2) of Beta(prior_up + up_evidence, prior_down + down_evidence)."""
    ups = pl.col("up_evidence") + config.prior_up
    downs = pl.col("down_evidence") + config.prior_down
    tail = (1.0 - config.interval) / 2.0
    return with_votes.with_columns(
        posterior_mean=ups / (ups + downs),
        posterior_low=beta_quantile(ups, downs, tail),
        posterior_high=beta_quantile(ups, downs, 1.0 - tail),
        probability_desirable=beta_above_half(ups, downs),
    )


def labelled(judged: pl.LazyFrame, config: ResponsesConfig) -> pl.LazyFrame:
    """What the votes say of each response: label, weight, and where the stage abstains why.

    Args:
        judged: What `with_posterior` gives.
        config: Confidence that a label takes.
    """
    voted = (pl.col("n_up") + pl.col("n_down")) > 0
    heard = (pl.col("up_evidence") + pl.col("down_evidence")) > 0
    desirable = pl.col("probability_desirable")
    label = (
        pl.when(heard & (desirable > config.min_confidence))
        .then(pl.lit("desirable"))
        .when(heard & (1.0 - desirable > config.min_confidence))
        .then(pl.lit("undesirable"))
        .otherwise(pl.lit("abstain"))
    )
    reason = (
        pl.when(label != "abstain")
        .then(pl.lit(None, dtype=pl.String))
        .when(voted & ~heard)
        .then(pl.lit("unreliable_raters"))
        .when(voted & (pl.col("up_evidence") == pl.col("down_evidence")))
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
        weight=pl.when(heard).then(2.0 * confidence - 1.0).otherwise(0.0),
    )
