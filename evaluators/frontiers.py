"""What models win over what they pay: the frontier of several models, and the cheapest that is surely better.

Won is the win rate against the baseline by one judge; paid is language: by how much more nats a token the untrained
model gives the answers than the baseline's. Fewer nats are no gain: answers that repeat themselves have them too. A
model whose answers came apart, repeating themselves or empty, pays with what no language makes good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

# The share of an answer that repeats itself, or of empty answers, may rise by this much surely.
MOST_BROKEN: Final = 0.1
_EVEN: Final = 0.5
_WON: Final = "win_rate"
_TEST: Final = "win_rate_p"
_PAID: Final = "reference_nats_per_token_ratio"
_BREAKING: Final = ("repetition_difference", "empty_difference")


class FrontierPoint(NamedTuple):
    """One model that could be taken.

    Attributes:
        model: Its name.
        won: Win rate against the baseline, ties one half; None where it is not known.
        won_low: Lower end of its interval; None where there is none.
        won_high: Upper end.
        p: Of the test that the win rate is one half, corrected for the number of models; None where there is none.
        paid: Nats a token under the untrained model over the baseline's, less one; None where it is not known.
        paid_low: Lower end of its interval; None where there is none.
        paid_high: Upper end.
        broken: Names of what makes its answers worthless.
    """

    model: str
    won: float | None
    won_low: float | None
    won_high: float | None
    p: float | None
    paid: float | None
    paid_low: float | None
    paid_high: float | None
    broken: tuple[str, ...] = ()

    @property
    def cost(self) -> float | None:
        """What it pays, at least nothing."""
        return None if self.paid is None else max(self.paid, 0.0)

    def is_surely_better(self, confidence: float) -> bool:
        """Whether interval and test both say that it wins, and its answers are whole."""
        if self.broken or self.won_low is None or self.p is None or self.cost is None:
            return False
        return self.won_low > _EVEN and self.p <= 1.0 - confidence


def frontier_points(
    metrics: pl.DataFrame, judge: str, baseline: str = "untrained", most_broken: float = MOST_BROKEN
) -> list[FrontierPoint]:
    """The models that answers were sampled of, but for the baseline, by name.

    Args:
        metrics: What `evaluate_answers` gives.
        judge: Whose win rates count.
        baseline: The model that the others are compared with.
        most_broken: What repeats itself or is empty may rise by this share.
    """
    whole = metrics.filter(pl.col("slice").is_null(), pl.col("compared_with") == baseline)
    rows = {(row["evaluator"], row["metric"], row["model"], row["judge"]): row for row in whole.iter_rows(named=True)}
    none = {"value": None, "ci_low": None, "ci_high": None}
    points = []
    for model in whole["model"].unique().sort():
        won = rows.get(("win_rate", _WON, model, judge), none)
        if won["value"] is None:
            continue
        paid = rows.get(("answer_text", _PAID, model, None), none)
        test = rows.get(("win_rate", _TEST, model, judge), none)
        broken = [
            name.removesuffix("_difference")
            for name in _BREAKING
            if (low := _low(rows.get(("answer_text", name, model, None), none))) is not None and low > most_broken
        ]
        low, value, high = (None if paid[name] is None else paid[name] - 1.0 for name in ("ci_low", "value", "ci_high"))
        points.append(
            FrontierPoint(
                model, won["value"], won["ci_low"], won["ci_high"], test["value"], value, low, high, tuple(broken)
            )
        )
    return points


def _low(row: dict[str, float | None]) -> float | None:
    # Answers that all changed alike have no interval to resample.
    return row["value"] if row["ci_low"] is None else row["ci_low"]


def frontier(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """The points that no other beats: none has at least the win rate for at most the cost. The cheapest comes first."""
    known = [point for point in points if point.won is not None and point.cost is not None and not point.broken]
    best: list[FrontierPoint] = []
    for point in sorted(known, key=_by_cost):
        if not best or _won(point) > _won(best[-1]):
            best.append(point)
    return best


def cheapest_surely_better(points: Sequence[FrontierPoint], confidence: float = 0.95) -> FrontierPoint | None:
    """The point of the least cost among those that are surely better; None where none is.

    Of two that cost the same, such as two that cost nothing, the one that wins more.

    Args:
        points: Any.
        confidence: Mass of the intervals, and one minus the level of the test.
    """
    sure = [point for point in points if point.is_surely_better(confidence)]
    return min(sure, key=_by_cost, default=None)


def _by_cost(point: FrontierPoint) -> tuple[float, float, str]:
    return (point.cost or 0.0, -_won(point), point.model)


def _won(point: FrontierPoint) -> float:
    return point.won or 0.0
