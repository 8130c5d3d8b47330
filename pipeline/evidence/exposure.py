"""How likely an answer was to be shown or rated, as a weight: the inverse of that probability, clipped.

A product that shows some answers more often gathers more votes on them. Where the log says with which probability
an answer was shown (`propensity`), its rows weigh 1 / propensity; where it says only the place among the answers
shown together (`position`), the chance of a rating at each place is estimated first. Clipping bounds the variance
and brings back a little of the bias.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl

from .votes import BALLOTS

Kind = Literal["none", "propensity", "position"]
_UNITS: Final = 1_000_000_000
MEANING: Final = {
    "none": "Exposure is not used: counts describe the answers that were shown and rated, every row weighs 1.",
    "unlogged": "No event says how likely its answer was to be shown, or where it stood. Every row weighs 1: votes "
    "speak for the answers that the product chose to show, not for all that it could have given.",
    "partly": "Answers whose events say nothing about exposure weigh 1, the least weight there is: they count too "
    "little against those that were rarely shown.",
    "logged": "Rows weigh the clipped inverse of the chance that their answer was shown or rated.",
}


class Exposure(NamedTuple):
    """How much of the log says something about exposure, and what weighing by it costs.

    Attributes:
        weighed: Responses with a logged exposure.
        responses: All responses.
        clipped: Responses whose weight reached the clip.
        effective_sample_size: (sum of weights) squared / sum of squared weights: so many equally weighed rows have
            the same variance.
        meaning: In words.
    """

    weighed: int
    responses: int
    clipped: int
    effective_sample_size: float
    meaning: str


def position_counts(events: pl.LazyFrame) -> pl.LazyFrame:
    """How often an answer stood at each position and was rated there; counts of partitions add up."""
    return (
        events.filter(pl.col("position").is_not_null())
        .group_by("position")
        .agg(
            pl.len().cast(pl.Int64).alias("n_shown"),
            pl.col("vote").is_in(BALLOTS).sum().cast(pl.Int64).alias("n_rated"),
        )
    )


def position_propensities(counts: pl.DataFrame) -> pl.DataFrame:
    """`position` and `place_propensity`: the rating rate there over the highest rate of any position.

    That reads every difference between places as one of attention, not of quality: true where the product orders
    answers at random, an overcorrection where it puts better ones first. Rates are (rated + 1) / (shown + 2), so that a
    place hardly ever seen has none of 0.
    """
    total = counts.group_by("position").agg(pl.col("n_shown", "n_rated").sum()).sort("position")
    rate = (pl.col("n_rated") + 1) / (pl.col("n_shown") + 2)
    return total.select("position", place_propensity=rate / rate.max())


def exposure_weights(events: pl.LazyFrame, positions: pl.LazyFrame, kind: Kind, clip: float) -> pl.LazyFrame:
    """`response_id` and `exposure_weight` of every response with a logged exposure.

    Args:
        events: Named events.
        positions: As `position_propensities` gives them.
        kind: What to weigh by.
        clip: Largest weight of an event; a response's weight is the mean of its events'.
    """
    if kind == "none":
        return pl.LazyFrame(schema={"response_id": pl.String, "exposure_weight": pl.Float64})
    if kind == "position":
        events = events.join(positions, on="position", how="left", validate="m:1")
    chance = pl.col("propensity" if kind == "propensity" else "place_propensity")
    units = ((1.0 / chance).clip(upper_bound=clip) * _UNITS).round().cast(pl.Int64)
    return (
        events.filter(chance.is_not_null())
        .group_by("response_id")
        .agg((units.sum() / (pl.len() * _UNITS)).alias("exposure_weight"))
    )


def effective_sample_size(weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2 of (n,) weights, Kish's; 0 for none."""
    square = float(np.square(weights).sum())
    return float(np.sum(weights) ** 2 / square) if square else 0.0


def described(responses: pl.DataFrame, kind: Kind, clip: float) -> Exposure:
    """What weighing by exposure did to a collected table `responses`."""
    weights = responses["exposure_weight"].drop_nulls()
    filled = responses["exposure_weight"].fill_null(1.0).to_numpy()
    if kind == "none":
        meaning = "none"
    elif weights.is_empty():
        meaning = "unlogged"
    else:
        meaning = "logged" if weights.len() == responses.height else "partly"
    return Exposure(
        weighed=weights.len(),
        responses=responses.height,
        clipped=int((weights >= clip).sum()),
        effective_sample_size=round(effective_sample_size(filled), 1),
        meaning=MEANING[meaning],
    )
