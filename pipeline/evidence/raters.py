"""How far each rater's votes can be relied on, from the votes alone.

Made from a narrow table of votes (ids, no text), once for the whole log; what a rater's votes weigh is then joined
into each partition. `dawid_skene` estimates, by expectation maximisation, how often each rater votes up on answers
that are good and on answers that are bad; a vote weighs the difference of the two (Youden's J), which is 0 for a
rater who always votes the same and 1 for one who is never wrong. Below 0 it is cut off at 0: a contrary rater's votes
are left out, not turned round.

Source: A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28(1), 1979, for two classes. Deviation: a rater's rates are drawn towards the pooled rates by a
stated number of votes, so that a rater with two votes is neither perfect nor useless.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..config import ResponsesConfig
from ..storage.columns import copied_strings
from ..tables import polars_schema

# What the estimate needs of the log's last votes: ids, no text.
NARROW: Final = ("response_id", "user_id", "vote", "ever_up", "ever_down")
_SUMS: Final = ("n_votes", "n_up", "n_down", "n_changed")
# Counts of raters that wait to be added to all others.
_HELD_ROWS: Final = 200_000
_ROUNDS: Final = 200
_TOLERANCE: Final = 1e-6
# Rates stay inside (0, 1), so that no vote is impossible and every log-odds is finite.
_EDGE: Final = 1e-6


class Confusion(NamedTuple):
    """What expectation maximisation found.

    Attributes:
        up_if_good: (raters,) float64: P(rater votes up | the answer is good).
        up_if_bad: (raters,) float64: P(rater votes up | the answer is bad).
        good: (responses,) float64: P(the answer is good | its votes).
    """

    up_if_good: np.ndarray
    up_if_bad: np.ndarray
    good: np.ndarray


def dawid_skene(response: np.ndarray, rater: np.ndarray, up: np.ndarray, prior_votes: float) -> Confusion:
    """Each rater's confusion and each response's class, from votes.

    Args:
        response: (votes,) int64, index of the response.
        rater: (votes,) int64, index of the rater.
        up: (votes,) bool.
        prior_votes: Above 0: weight of the pooled rates in each rater's own, in votes.

    Returns:
        The fixed point that starts at each response's share of up votes, (up + 1) / (votes + 2), once no probability
        of an answer moves by more than 1e-6, or after 200 rounds.
    """
    votes = np.bincount(response)
    good = (np.bincount(response, weights=up) + 1.0) / (votes + 2.0)
    for _ in range(_ROUNDS):
        up_if_good = _rates(good[response], rater, up, prior_votes)
        up_if_bad = _rates(1.0 - good[response], rater, up, prior_votes)
        log_odds = np.where(
            up,
            np.log(up_if_good / up_if_bad)[rater],
            np.log((1.0 - up_if_good) / (1.0 - up_if_bad))[rater],
        )
        share = float(np.clip(good.mean(), _EDGE, 1.0 - _EDGE))
        total = np.log(share / (1.0 - share)) + np.bincount(response, weights=log_odds, minlength=len(votes))
        moved = 1.0 / (1.0 + np.exp(-np.clip(total, -500.0, 500.0)))
        step = float(np.abs(moved - good).max())
        good = moved
        if step <= _TOLERANCE:
            break
    return Confusion(up_if_good, up_if_bad, good)


def _rates(chance: np.ndarray, rater: np.ndarray, up: np.ndarray, prior_votes: float) -> np.ndarray:
    """P(up) of each rater over votes that count with `chance`, drawn towards the pooled rate; (raters,)."""
    pooled = float((chance * up).sum() / max(float(chance.sum()), _EDGE))
    ups = np.bincount(rater, weights=chance * up)
    rates = (ups + prior_votes * pooled) / (np.bincount(rater, weights=chance) + prior_votes)
    return np.asarray(np.clip(rates, _EDGE, 1.0 - _EDGE), dtype=np.float64)


class RaterVotes:
    """Votes of any number of partitions, added up by rater; single ones are kept only where the estimate needs them."""

    def __init__(self, config: ResponsesConfig) -> None:
        """Begin without votes.

        Args:
            config: Which estimate, and its settings.
        """
        self._config = config
        self._counts = polars_schema("raters").to_frame().select("user_id", *_SUMS)
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._standing: list[pl.DataFrame] = []

    def add(self, votes: pl.DataFrame) -> None:
        """Add last votes with the columns of `NARROW`, in any order.

        Those without a user are left out, since nothing can be learned of them: they weigh 1.
        """
        named = votes.filter(pl.col("user_id").is_not_null())
        vote = pl.col("vote")
        changed = (pl.col("ever_up") > 0) & (pl.col("ever_down") > 0)
        kinds = zip(_SUMS, (vote != "retracted", vote == "up", vote == "down", changed), strict=True)
        ones = named.select("user_id", **{name: kind.cast(pl.Int64) for name, kind in kinds})
        # Added up twice, so that what is put together is a row a rater on both sides.
        self._held.append(copied_strings(ones.group_by("user_id").agg(pl.all().sum())))
        self._held_rows += self._held[-1].height
        if self._held_rows > max(_HELD_ROWS, self._counts.height):
            self._add_up()
        if self._config.reliability == "dawid_skene":
            standing = named.filter(pl.col("vote") != "retracted")
            narrow = standing.select("response_id", "user_id", up=pl.col("vote") == "up")
            self._standing.append(copied_strings(narrow))

    def _add_up(self) -> None:
        # Where it has doubled: with each part it would take the square of their number.
        self._counts = copied_strings(pl.concat([self._counts, *self._held]).group_by("user_id").agg(pl.all().sum()))
        self._held, self._held_rows = [], 0

    def table(self) -> pl.DataFrame:
        """Table `raters`, sorted: every user who voted, and what that user's votes weigh."""
        self._add_up()
        config = self._config
        only_one = (pl.min_horizontal("n_up", "n_down") == 0) & (pl.col("n_votes") >= config.one_label_votes)
        table = self._counts.with_columns(one_label=only_one).sort("user_id")
        rated = _with_confusion(table, self._standing, config)
        return rated.with_columns(weight=_weight(config)).select(list(polars_schema("raters")))


def _weight(config: ResponsesConfig) -> pl.Expr:
    if config.reliability == "one_label":
        return pl.when("one_label").then(config.one_label_weight).otherwise(1.0)
    if config.reliability == "dawid_skene":
        # Whoever has retracted every vote has no rates, and no vote to weigh.
        return (pl.col("up_if_good") - pl.col("up_if_bad")).clip(0.0, 1.0).fill_null(1.0)
    return pl.lit(1.0)


def _with_confusion(table: pl.DataFrame, parts: list[pl.DataFrame], config: ResponsesConfig) -> pl.DataFrame:
    standing = pl.concat(parts).sort("response_id", "user_id") if parts else pl.DataFrame()
    if standing.is_empty():
        return table.with_columns(up_if_good=pl.lit(None, pl.Float64), up_if_bad=pl.lit(None, pl.Float64))
    raters = standing.select(pl.col("user_id").unique().sort()).with_row_index("rater")
    placed = standing.join(raters, on="user_id", how="inner", validate="m:1", maintain_order="left")
    response = placed["response_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    found = dawid_skene(
        response,
        placed["rater"].cast(pl.Int64).to_numpy(),
        placed["up"].to_numpy(),
        config.reliability_prior,
    )
    rates = raters.with_columns(up_if_good=pl.Series(found.up_if_good), up_if_bad=pl.Series(found.up_if_bad))
    return table.join(rates.drop("rater"), on="user_id", how="left", validate="1:1", maintain_order="left")


def rater_contradictions(raters: pl.DataFrame) -> pl.DataFrame:
    """Rows of table `contradictions`: the raters who only ever gave one label."""
    schema = polars_schema("contradictions")
    return raters.filter("one_label").select(
        kind=pl.lit("one_label_rater").cast(schema["kind"]),
        prompt_id=pl.lit(None, pl.String),
        response_id=pl.lit(None, pl.String),
        other_response_id=pl.lit(None, pl.String),
        user_id="user_id",
        n_up="n_up",
        n_down="n_down",
    )
