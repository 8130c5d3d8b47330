"""What models win over what they pay."""

import polars as pl
import pytest

from thumbline.evaluators import FrontierPoint, cheapest_surely_better, frontier, frontier_points
from thumbline.evaluators.types import METRICS_SCHEMA


def point(model, won, paid, low=None, p=0.001, broken=()):
    return FrontierPoint(model, won, won - 0.05 if low is None else low, won + 0.05, p, paid, paid, paid, broken)


def test_the_frontier_holds_what_no_other_beats_the_cheapest_first():
    dear, cheap, beaten = point("dear", 0.9, 0.3), point("cheap", 0.6, 0.01), point("beaten", 0.6, 0.2)
    assert frontier([dear, beaten, cheap]) == [cheap, dear]


def test_fewer_nats_are_no_gain_so_the_one_that_wins_more_is_taken():
    plain, better = point("plain", 0.6, -0.2), point("better", 0.7, -0.01)
    assert cheapest_surely_better([plain, better]) is better
    assert frontier([plain, better]) == [better]


def test_the_cheapest_is_taken_only_where_interval_and_test_agree():
    unsure = point("unsure", 0.55, 0.0, low=0.49)
    untested = point("untested", 0.6, 0.01, p=0.2)
    sure = point("sure", 0.7, 0.05)
    dear = point("dear", 0.95, 0.4)
    assert cheapest_surely_better([dear, sure, untested, unsure]) is sure
    assert cheapest_surely_better([unsure, untested]) is None
    assert cheapest_surely_better([]) is None


def test_a_model_that_came_apart_is_never_taken_whatever_it_wins():
    assert cheapest_surely_better([point("looping", 0.99, -0.5, broken=("repetition",))]) is None
    assert frontier([point("looping", 0.99, -0.5, broken=("repetition",))]) == []


def metric(evaluator, name, model, value, low, high, judge=None):
    row = dict.fromkeys(METRICS_SCHEMA)
    row |= {"evaluator": evaluator, "version": 1, "metric": name, "model": model, "compared_with": "untrained"}
    return row | {
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": 9,
        "n_groups": 9,
        "unit": "share",
        "judge": judge,
    }


def test_points_are_read_from_the_metrics_of_one_judge():
    rows = [
        metric("win_rate", "win_rate", "a", 0.7, 0.6, 0.8, "mine"),
        metric("win_rate", "win_rate", "a", 0.2, 0.1, 0.3, "other"),
        metric("win_rate", "win_rate_p", "a", 0.01, None, None, "mine"),
        metric("answer_text", "reference_nats_per_token_ratio", "a", 1.04, 1.01, 1.07),
        metric("answer_text", "repetition_difference", "a", 0.2, 0.15, 0.25),
        metric("win_rate", "win_rate", "b", 0.6, 0.5, 0.7, "mine"),
        metric("win_rate", "win_rate", "b", 0.9, 0.8, 1.0, "mine") | {"slice": "script=Latin"},
        metric("win_rate", "win_rate", "unknown", None, None, None, "mine"),
    ]
    a, b = frontier_points(pl.DataFrame(rows, schema=METRICS_SCHEMA), "mine")
    assert (a.model, a.won, a.won_low, a.won_high, a.p, a.broken) == ("a", 0.7, 0.6, 0.8, 0.01, ("repetition",))
    assert (a.paid, a.paid_low, a.paid_high) == pytest.approx((0.04, 0.01, 0.07))
    assert (b.model, b.won, b.p, b.paid, b.cost, b.broken) == ("b", 0.6, None, None, None, ())
    assert not b.is_surely_better(0.95)
