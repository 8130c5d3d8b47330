"""What may not be claimed from few prompt groups, and a test that pairs of one prompt do not fool."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.evaluator_rows import PLAIN, clustered_margins, metric, metrics_of, scored_pairs, scored_unpaired
from thumbline.evaluators import EvaluationSettings
from thumbline.evaluators.paired_tests import mcnemar_exact, sign_flip_exact

AGREE = "no interval: all prompt groups agree, so resampling them shows no spread"


def test_groups_that_all_change_alike_have_no_interval_of_the_difference():
    rows = pl.concat([scored_pairs([1, 1, 1]), scored_pairs([-1, -1, -1], model="untrained")])
    for name, number in (("accuracy_difference", 1.0), ("margin_difference", 2.0)):
        row = metric(metrics_of("comparison", rows), name)
        assert (row["value"], row["ci_low"], row["ci_high"], row["reason"]) == (number, None, None, AGREE)


def test_classes_that_often_miss_a_draw_have_no_interval():
    rows = scored_unpaired([1, 2, 3], [-1, -2, 1.5], list("aabccd"))
    row = metric(metrics_of("unpaired_auc", unpaired=rows), "reward_separation")
    assert row["value"] == pytest.approx(2.5)
    assert (row["ci_low"], row["ci_high"], row["standard_error"]) == (None, None, None)
    # 4 draws of 4 groups are all of one class with probability 2 / 2^4
    missing = int(row["reason"].split()[2])
    assert row["reason"] == f"no interval: {missing} of 1,000 resamples do not determine the number"
    assert 85 < missing < 165


@pytest.mark.parametrize("name", ["auc", "reward_separation", "balanced_accuracy_zero"])
def test_a_class_of_one_group_has_no_interval(name):
    rows = scored_unpaired([1, 2, 3], [-1, -2, 1.5], ["a"] * 3 + ["b", "c", "d"])
    row = metric(metrics_of("unpaired_auc", unpaired=rows), name)
    assert row["value"] is not None
    assert (row["ci_low"], row["ci_high"]) == (None, None)
    assert row["reason"] == "all rows of one kind are of one prompt group: no interval can be given"


def test_few_groups_have_wider_intervals_than_plain_percentiles():
    margins, groups = [1.0, 2.0, 4.0, 7.0, -3.0], list("abcde")
    row = metric(metrics_of("reward_margin", scored_pairs(margins, groups)), "mean")
    drawn = [np.mean(sample) for sample in itertools.product(margins, repeat=5)]
    # t at 0.975 with 4 degrees of freedom is 2.776; times root 5/4 it is 3.104, a normal tail of 0.00095
    assert row["ci_low"] < float(np.quantile(drawn, 0.01))
    assert row["ci_high"] > float(np.quantile(drawn, 0.99))


def test_a_share_near_one_is_no_surer_than_wilsons_interval():
    row = metric(metrics_of("pair_accuracy", scored_pairs([1] * 19 + [-1])), "accuracy")
    # The clustered error is root(0.95 * 0.05 / 19), as of 19 rows; Student's t with 19 degrees of freedom at 0.975 is
    # 2.093024: t^2 / 19 = 0.230566; middle (0.95 + 0.115283) / 1.230566, half root(0.0475 * 0.230566 + 0.013290)
    # over 1.230566.
    assert row["ci_low"] == pytest.approx(0.865685 - 0.126526, abs=1e-5)
    assert row["ci_high"] == 1.0  # of the resamples: many draw no mistake


@pytest.mark.slow
@pytest.mark.parametrize("groups", [8, 15])
def test_intervals_of_few_groups_hold_the_truth(groups):
    generator, held = np.random.default_rng(groups), []
    for seed in range(500):
        margins, number = clustered_margins(generator, groups, rows=(4, 4), shared=0.5)
        settings = EvaluationSettings(beta=1.0, bootstrap_draws=500, seed=seed)
        rows = scored_pairs(margins.tolist(), [f"g{place}" for place in number])
        row = metric(metrics_of("reward_margin", rows, settings=settings), "mean")
        held.append(row["ci_low"] <= 0.3 <= row["ci_high"])
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("seed", range(20))
def test_sign_flips_are_those_of_every_choice_of_signs(seed):
    changes = np.random.default_rng(seed).integers(-4, 6, 9) / 2
    sums = [abs(np.dot(signs, changes)) for signs in itertools.product((-1, 1), repeat=9)]
    expected = np.mean(np.array(sums) >= abs(changes.sum()))
    assert sign_flip_exact(changes) == pytest.approx(expected, abs=1e-12)


def test_with_one_pair_a_group_it_is_mcnemars_test():
    wins, before = (np.random.default_rng(seed).integers(0, 2, 200).astype(float) for seed in (1, 2))
    assert sign_flip_exact(wins - before) == pytest.approx(mcnemar_exact(wins, before), abs=1e-12)


def test_very_many_groups_use_the_normal_approximation():
    changes = np.where(np.arange(300_000) < 150_600, 1.0, -1.0)  # sum 1,200; root of 300,000 is 547.72
    assert sign_flip_exact(changes) == pytest.approx(2 * stats.norm.sf(1200 / 547.7226), rel=1e-6)


def test_pairs_of_one_prompt_do_not_fool_it():
    generator, found = np.random.default_rng(1), {"rows": [], "groups": []}
    for _ in range(400):
        number = np.repeat(np.arange(60), 8)
        wins, before = (
            (generator.normal(size=60)[number] + 0.7 * generator.normal(size=480) > 0).astype(float) for _ in range(2)
        )
        found["rows"].append(mcnemar_exact(wins, before) < 0.05)
        found["groups"].append(sign_flip_exact(np.bincount(number, weights=wins - before)) < 0.05)
    # The models are equal, so 5% of tests may find a difference: 4 standard errors of 400 tests are 4.4%.
    assert np.mean(found["groups"]) < 0.094
    assert np.mean(found["rows"]) > 0.2


def test_pairs_of_one_prompt_change_together():
    wins, before = [1, 1, 1, -1, 1, 1], [-1, -1, -1, 1, -1, -1]
    rows = pl.concat([scored_pairs(wins, list("aaabcd")), scored_pairs(before, list("aaabcd"), model="untrained")])
    found = metrics_of("comparison", rows)
    # Pairs: 5 of 6 better, 2 (1 + 6) / 64. Groups change by 3, -1, 1, 1: of 16 choices of signs the sums 4 and above
    # in size are 4 = 3-1+1+1, 3+1-1+1, 3+1+1-1, and 6 = 3+1+1+1, each with its mirror: 8 of 16.
    assert metric(found, "mcnemar_p")["value"] == pytest.approx(14 / 64)
    assert metric(found, "sign_flip_p")["value"] == pytest.approx(0.5)
    assert metric(found, "sign_flip_p")["reason"] == "3 prompt groups better, 1 worse, 0 the same"


def test_a_p_value_is_never_nought():
    assert sign_flip_exact(np.ones(200)) == 1e-12
    assert sign_flip_exact(np.ones(300_000)) == 1e-12


def test_without_the_baseline_every_two_models_are_compared():
    rows = pl.concat([scored_pairs([1, -1, 1, 1], model=name) for name in ("run_a", "run_b", "run_c")])
    found = metrics_of("comparison", rows, settings=PLAIN)
    compared = found.filter(pl.col("metric") == "sign_flip_p").select("model", "compared_with").rows()
    assert sorted(compared) == [("run_b", "run_a"), ("run_c", "run_a"), ("run_c", "run_b")]
