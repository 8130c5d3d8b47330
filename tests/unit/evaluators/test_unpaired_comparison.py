"""Two models on the same unpaired rows, by hand, and what their test may not claim."""

import numpy as np
import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, metric, metrics_of, scored_unpaired
from thumbline.evaluators import evaluate


def two(trained: tuple[list, list], untrained: tuple[list, list], groups: list[str] | None = None) -> pl.DataFrame:
    """Desirable and undesirable rewards under both models."""
    return pl.concat([scored_unpaired(*trained, groups), scored_unpaired(*untrained, groups, model="untrained")])


def test_differences_and_tests_by_hand():
    found = metrics_of("unpaired_comparison", unpaired=two(([2, 0], [1, -1]), ([0, 0], [0, 0])))
    expected = {
        "auc_difference": 0.25,  # 2 beats 1 and -1, 0 beats -1: 3/4, against 1/2 of ties
        # Student's t 0.25 / 0.353553 with 1 degree of freedom: 1 - 2/pi atan(0.707107)
        "auc_difference_p": 0.608173,
        "balanced_accuracy_zero_difference": 0.125,  # desirable 1/2 and 0 more: 1/4; undesirable -1/2 and 1/2: 0
        "separation_difference": 1.0,  # (2 + 0) / 2 - (1 - 1) / 2
        "mcnemar_p": 1.0,  # 2 better, 1 worse
        "sign_flip_p": 1.0,
        # Student's t with 1 degree of freedom: 12.706205 at 0.975, 1.376382 at 0.8
        "minimum_detectable_effect": (12.706205 + 1.376382) * 0.353553,
    }
    assert {name: metric(found, name)["value"] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert found.height == len(expected)
    # Placements 1, 1/2 of desirable, 1/2, 1 of undesirable, less 3/4, over 2: four of 1/8; 4/64 * 2: root 0.353553
    assert metric(found, "auc_difference")["standard_error"] == pytest.approx(0.353553, abs=1e-6)
    assert metric(found, "mcnemar_p")["reason"] == "2 rows better, 1 worse, 1 the same"
    assert metric(found, "sign_flip_p")["reason"] == "2 prompt groups better, 1 worse, 1 the same"
    assert set(found["compared_with"]) == {"untrained"}


@pytest.mark.parametrize(("groups", "p_value"), [(3, 0.25), (6, 0.03125)])
def test_groups_that_all_flip_have_the_p_value_of_so_few_exchanges(groups, p_value):
    names = [f"g{place}" for place in range(groups)] * 2
    rows = two(([1] * groups, [0] * groups), ([0] * groups, [1] * groups), names)
    found = metrics_of("unpaired_comparison", unpaired=rows)
    gap = metric(found, "auc_difference")
    assert (gap["value"], gap["ci_low"], gap["standard_error"]) == (1.0, None, None)
    assert gap["reason"] == "no interval: all prompt groups changed alike, so they show no spread"
    assert metric(found, "auc_difference_p")["value"] == p_value
    assert metric(found, "minimum_detectable_effect")["value"] is None


def test_a_model_against_itself_differs_in_nothing():
    found = metrics_of("unpaired_comparison", unpaired=two(([2, 0], [1, -1]), ([2, 0], [1, -1])))
    assert metric(found, "auc_difference")["value"] == 0.0
    assert metric(found, "auc_difference_p")["value"] == 1.0
    assert metric(found, "sign_flip_p")["value"] == 1.0


def test_one_class_is_not_compared():
    found = metrics_of("unpaired_comparison", unpaired=two(([2, 0], []), ([1, 1], [])))
    for name in ("auc_difference", "auc_difference_p", "separation_difference"):
        row = metric(found, name)
        assert (row["value"], row["reason"]) == (None, "all rows have one label: two classes are needed")


def test_a_class_of_one_group_has_no_test():
    found = metrics_of("unpaired_comparison", unpaired=two(([2, 0], [1]), ([0, 0], [0])))
    row = metric(found, "auc_difference_p")
    assert (row["value"], row["reason"]) == (None, "all rows of one kind are of one prompt group: no test can be given")
    assert metric(found, "auc_difference")["value"] == 0.0
    assert metric(found, "auc_difference")["ci_low"] is None


def test_three_models_are_compared_two_by_two_and_corrected():
    generator = np.random.default_rng(3)
    parts = []
    for place, model in enumerate(("a", "b", "untrained")):
        ups, downs = generator.normal(1.0 - place / 2, 1, 40), generator.normal(0, 1, 40)
        parts.append(scored_unpaired(ups.tolist(), downs.tolist(), model=model))
    found = evaluate(None, pl.concat(parts), PLAIN, ["unpaired_comparison"])
    tested = found.filter(pl.col("metric") == "auc_difference_p")
    assert tested.select("model", "compared_with").rows() == [("a", "untrained"), ("b", "a"), ("b", "untrained")]
    assert all("corrected for 3 comparisons" in reason for reason in tested["reason"])
    two_alone = evaluate(None, pl.concat([parts[0], parts[2]]), PLAIN, ["unpaired_comparison"])
    alone = metric(two_alone, "auc_difference_p", "a")["value"]
    assert metric(found, "auc_difference_p", "a", against="untrained")["value"] == pytest.approx(3 * alone)


def test_rows_of_one_prompt_do_not_fool_the_test_of_auc():
    generator, found = np.random.default_rng(1), []
    for _ in range(200):
        # 40 prompts of 8 rows of one label each, whose rewards a prompt has mostly in common, under two equal models.
        number, labels = np.repeat(np.arange(40), 8), np.repeat(np.arange(40) % 2 == 0, 8)
        rows = []
        for model in ("trained", "untrained"):
            rewards = labels + generator.normal(size=40)[number] + 0.3 * generator.normal(size=320)
            names = [f"g{place:02}" for place in (*number[labels], *number[~labels])]
            rows.append(scored_unpaired(rewards[labels].tolist(), rewards[~labels].tolist(), names, model=model))
        table = metrics_of("unpaired_comparison", unpaired=pl.concat(rows))
        found.append(metric(table, "auc_difference_p")["value"] < 0.05)
    # 5% of tests of equal models may find a difference: 4 standard errors of 200 tests are 6.2%.
    assert np.mean(found) < 0.112
