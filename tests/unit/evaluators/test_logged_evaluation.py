"""Rates of a model from weighted logged answers, worked by hand, and when they are refused."""

import dataclasses
from math import log

import polars as pl
import pytest

from tests.evaluator_rows import metric, metrics_of, scored_unpaired
from thumbline.evaluators import EvaluationError, EvaluationSettings
from thumbline.evaluators.logged_evaluation import LOGGED

# A hundred groups are asked for unless a case says otherwise; cases worked by hand have few.
ALL = EvaluationSettings(beta=1.0, reference_answers=("all",), least_effective_groups=2)


def logged(rows: pl.DataFrame, settings: EvaluationSettings = ALL) -> pl.DataFrame:
    return metrics_of("logged_evaluation", unpaired=rows, settings=settings)


# Weights 3 and 1 of desirable answers, 1 and 1 of others.
FOUR = scored_unpaired([log(3), 0.0], [0.0, 0.0])


def test_an_answer_counts_by_how_much_likelier_the_model_is_to_write_it():
    found = logged(FOUR)
    assert metric(found, "rate")["value"] == pytest.approx(4 / 6)
    assert metric(found, "logged_rate")["value"] == 0.5
    assert metric(found, "rate_difference", against=LOGGED)["value"] == pytest.approx(1 / 6)
    assert metric(found, "effective_groups")["value"] == pytest.approx(3.0)  # 6^2 / (9 + 1 + 1 + 1)
    assert metric(found, "effective_share")["value"] == pytest.approx(0.75)
    assert metric(found, "largest_weight_share")["value"] == pytest.approx(0.5)
    assert metric(found, "mean_weight")["value"] == pytest.approx(1.5)
    assert (metric(found, "rate")["n"], metric(found, "rate")["n_groups"]) == (4, 4)


def test_the_error_of_the_rate_is_of_weighted_groups():
    # Influences w (y - 2/3) / 6: 1/6, 1/18, -1/9, -1/9, squares 0.0555556; 3 effective groups give the factor 3/2.
    assert metric(logged(FOUR), "rate")["standard_error"] == pytest.approx((0.0555556 * 1.5) ** 0.5, rel=1e-5)


def test_answers_of_one_prompt_are_one_group():
    found = logged(scored_unpaired([log(3), 0.0], [0.0, 0.0], list("aabb")))
    assert metric(found, "effective_groups")["value"] == pytest.approx(36 / 20)  # weights 4 and 2
    assert metric(found, "rate")["value"] is None


def test_a_model_that_equals_the_reference_has_the_rate_of_the_log():
    found = logged(scored_unpaired([0.0] * 3, [0.0] * 5))
    assert metric(found, "rate")["value"] == pytest.approx(3 / 8)
    assert metric(found, "rate_difference")["value"] == pytest.approx(0.0)
    assert metric(found, "effective_groups")["value"] == pytest.approx(8.0)


def test_too_few_effective_groups_are_refused_with_their_number():
    found = logged(FOUR, dataclasses.replace(ALL, least_effective_groups=100))
    for name in ("rate", "rate_difference"):
        row = metric(found, name)
        assert (row["value"], row["ci_low"]) == (None, None)
        assert "worth 3.0 prompt groups of 4" in row["reason"]
        assert "fewer than the 100 of metrics.least_effective_groups" in row["reason"]
    assert metric(found, "logged_rate")["value"] == 0.5


def test_nothing_is_estimated_unless_it_is_said_who_wrote_the_answers():
    row = metric(logged(FOUR, EvaluationSettings()), "rate")
    assert row["value"] is None
    assert "metrics.reference_answers" in row["reason"]


def test_only_answers_of_the_named_models_count():
    rows = FOUR.with_columns(response_model=pl.Series(["ours", "other", "ours", None]))
    found = logged(rows, dataclasses.replace(ALL, reference_answers=("ours",), least_effective_groups=2))
    assert metric(found, "effective_groups")["value"] == pytest.approx(1.6)  # weights 3 and 1
    assert (metric(found, "logged_rate")["value"], metric(found, "logged_rate")["n"]) == (0.5, 2)
    unknown = metric(logged(rows, dataclasses.replace(ALL, reference_answers=("our",))), "rate")
    assert unknown["reason"] == "no held-out answer is by our; there are other, ours"
    without = metric(logged(FOUR, dataclasses.replace(ALL, reference_answers=("our",))), "rate")
    assert "no column response_model" in without["reason"]


def test_weights_are_clipped_only_where_that_is_said_and_it_is_told():
    found = logged(FOUR, dataclasses.replace(ALL, clip_weights=2.0))
    assert metric(found, "rate")["value"] == pytest.approx(3 / 5)
    assert metric(found, "rate")["reason"].startswith("1 of 4 weights clipped at 2")
    assert metric(found, "mean_weight")["value"] == pytest.approx(5 / 4)


def test_weights_too_large_for_a_number_give_a_rate_all_the_same():
    found = logged(scored_unpaired([5000.0, 5000.0 - log(2)], [5000.0 - log(2), 0.0]))
    assert metric(found, "rate")["value"] == pytest.approx(0.75)
    assert metric(found, "mean_weight")["value"] is None
    assert metric(found, "effective_groups")["value"] == pytest.approx(4 / 1.5)


def test_without_a_reference_nothing_is_weighed():
    rows = FOUR.with_columns(reference_logps=pl.lit(None, pl.Float64))
    row = metric(logged(rows, dataclasses.replace(ALL, reward="sum_logps")), "rate")
    assert (row["value"], "no reference log-probs" in row["reason"]) == (None, True)


def test_beta_changes_no_weight():
    assert logged(FOUR).equals(logged(FOUR, dataclasses.replace(ALL, beta=0.1)))


@pytest.mark.parametrize(("name", "value"), [("least_effective_groups", 1), ("clip_weights", 0.0)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(EvaluationError, match=name):
        EvaluationSettings(**{name: value})
