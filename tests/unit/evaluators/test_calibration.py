"""Calibration by hand: the reliability curve, what chance alone would show, and the interval of the temperature."""

from math import log

import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, metric, metrics_of, scored_pairs
from thumbline.evaluators import EvaluationSettings

LN3 = log(3)  # sigma(ln 3) = 3/4
SURE = log(2.2)  # sigma = 0.6875, inside the bin of confidence from 0.65 to 0.7


def test_the_reliability_curve():
    found = metrics_of("calibration", scored_pairs([SURE, SURE, SURE, -SURE, log(9.5)]))
    curve = found.filter(pl.col("metric") == "reliability_accuracy")
    assert curve["slice"].to_list() == ["confidence=0.65 to 0.7", "confidence=0.9 to 0.95"]
    assert curve["value"].to_list() == [0.75, 1.0]  # 3 of 4, 1 of 1
    assert curve["n"].to_list() == [4, 1]
    said = found.filter(pl.col("metric") == "reliability_confidence")
    assert said["value"].to_list() == pytest.approx([0.6875, 9.5 / 10.5])
    assert curve["ci_low"][0] < 0.75 < curve["ci_high"][0]


def test_the_number_of_bins_sets_their_width():
    found = metrics_of("calibration", scored_pairs([SURE]), settings=EvaluationSettings(beta=1.0, calibration_bins=2))
    assert set(found["slice"].drop_nulls()) == {"confidence=0.5 to 0.75"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # Alone each pair has variance 0.6875 * 0.3125: 4 of them 0.859375, root 0.927025. Gaps 0.3125 three times and
        # -0.6875, less their mean 0.0625: squares 3 / 16 + 9 / 16, less than that. Times root 2/pi = 0.797885, over 4.
        ("abcd", 0.184915),
        # The first three together: 0.75 and -0.75, squares 1.125, more; root 1.060660.
        ("aaab", 0.211572),
    ],
)
def test_what_a_calibrated_model_would_show(groups, expected):
    found = metrics_of("calibration", scored_pairs([SURE, SURE, SURE, -SURE], list(groups)))
    row = metric(found, "ece_if_calibrated")
    assert row["value"] == pytest.approx(expected, abs=1e-6)
    assert metric(found, "ece")["value"] == pytest.approx(0.0625)  # 0.75 of them right at 0.6875


def test_ece_has_no_interval_and_says_why():
    row = metric(metrics_of("calibration", scored_pairs([SURE, SURE, -SURE])), "ece")
    assert (row["ci_low"], row["ci_high"], row["standard_error"]) == (None, None, None)
    assert row["reason"].startswith("no interval: chance alone makes it larger")


def test_ties_are_half_right_for_certain():
    found = metrics_of("calibration", scored_pairs([0, 0, 0]))
    assert metric(found, "ece")["value"] == 0.0
    assert metric(found, "ece_if_calibrated")["value"] == 0.0


def test_the_interval_of_the_temperature():
    settings = EvaluationSettings(beta=1.0, confidence=0.5)
    row = metric(metrics_of("calibration", scored_pairs([LN3, LN3, LN3, -LN3]), settings=settings), "temperature")
    # At T = 1 a pair pulls by m sigma(-m): ln 3 / 4 three times and -3 ln 3 / 4. Squares 3/4 ln^2 3, times 4/3, over
    # 4 pairs squared: root ln 3 / 4. Curvature ln^2 3 * 3/16. Their ratio is 4 / (3 ln 3) = 1.213653.
    assert row["standard_error"] == pytest.approx(1.213653, abs=1e-4)
    # Student's t with 3 degrees of freedom at 0.75 is 0.764892: log T is 0 -+ 0.928314.
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.395219, 2.530240), rel=1e-4)


def test_one_group_has_a_temperature_without_an_interval():
    row = metric(metrics_of("calibration", scored_pairs([LN3, LN3, LN3, -LN3], ["a"] * 4)), "temperature")
    assert row["value"] == pytest.approx(1.0)
    assert (row["ci_low"], row["reason"]) == (None, "one prompt group: no interval can be given")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_temperature_grows_with_the_margins(scale):
    margins = [scale * margin for margin in (LN3, LN3, LN3, -LN3)]
    row = metric(
        metrics_of(
            "calibration",
            scored_pairs([0.0] * 4).with_columns(
                policy_chosen_logps=pl.Series(margins),
                policy_rejected_logps=0.0,
                reference_chosen_logps=0.0,
                reference_rejected_logps=0.0,
            ),
            settings=PLAIN,
        ),
        "temperature",
    )
    assert row["value"] == pytest.approx(scale, rel=1e-6)


def test_margins_that_cancel_but_for_rounding_have_no_temperature():
    rows = scored_pairs([0.0] * 2).with_columns(
        policy_chosen_logps=pl.Series([1.0, -1.0 + 2e-16]),
        policy_rejected_logps=0.0,
        reference_chosen_logps=0.0,
        reference_rejected_logps=0.0,
    )
    row = metric(metrics_of("calibration", rows), "temperature")
    assert (row["value"], row["reason"]) == (None, "no temperature within e^30 of the margins' size is best")
