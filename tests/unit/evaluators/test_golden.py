"""Every metric of every evaluator, worked by hand. At beta 1 a pair's margin is what `scored_pairs` is given."""

from math import log

import numpy as np
import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, metric, metrics_of, scored_pairs, scored_unpaired
from thumbline.evaluators import EVALUATORS, METRICS_SCHEMA, EvaluationSettings, evaluate
from thumbline.evaluators.paired_tests import holm, mcnemar_exact, minimum_detectable_effect

LN3 = log(3)  # sigma(ln 3) = 3/4, sigma(2 ln 3) = 9/10
T3_975 = 3.182446  # quantile of Student's t with 3 degrees of freedom at 0.975
T3_80 = 0.978472  # and at 0.8


def value(
    frame: pl.DataFrame, name: str, model: str = "trained", part: str | None = None, against: str | None = None
) -> float | None:
    return metric(frame, name, model, part, against)["value"]


def test_accuracy_counts_a_tie_half():
    found = metrics_of("pair_accuracy", scored_pairs([2, 1, 0, -1], ["a", "a", "b", "c"]))
    accuracy = metric(found, "accuracy")
    assert accuracy["value"] == 0.625  # (1 + 1 + 1/2 + 0) / 4
    assert (accuracy["n"], accuracy["n_groups"], accuracy["unit"]) == (4, 3, "share")
    assert 0 <= accuracy["ci_low"] < 0.625 < accuracy["ci_high"] <= 1
    assert value(found, "n_ties") == 1


def test_accuracy_of_decided_pairs():
    found = metrics_of("pair_accuracy", scored_pairs([2, 1, 0, -1], ["a", "a", "b", "c"]))
    decided = metric(found, "decided_accuracy")
    assert (decided["value"], decided["n"], decided["n_groups"]) == (pytest.approx(2 / 3), 3, 2)
    ties = metric(metrics_of("pair_accuracy", scored_pairs([0, 0])), "decided_accuracy")
    assert (ties["value"], ties["n"], ties["reason"]) == (None, 0, "all pairs tie")


def test_accuracy_against_chance():
    row = metric(metrics_of("pair_accuracy", scored_pairs([1, 1, 1, 1, -1, 0], list("aabcde"))), "chance_p")
    # Above one half by group: 1, 1/2, 1/2, -1/2, 0. Of 16 choices of signs of the first four, sums of 1.5 and more in
    # size are 2.5, three of 1.5 and their mirrors.
    assert row["value"] == pytest.approx(0.5)
    assert row["reason"] == "3 prompt groups above chance, 1 below, 1 at it"


def test_auc_against_chance():
    row = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired([5, 5, 0], [1, 1, 1])), "auc_chance_p")
    # AUC 2/3 with an error of 1/3 (below): t = 0.5 with 2 degrees of freedom: 1 - 0.5 / root(2 + 0.25)
    assert row["value"] == pytest.approx(2 / 3)
    assert row["reason"] == "errors clustered by 6 prompt groups"
    sure = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired([5, 6, 7], [1, 2, 3])), "auc_chance_p")
    assert sure["value"] == 0.25  # 2 of 2^3 exchanges
    one = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired([5], [1])), "auc_chance_p")
    assert (one["value"], one["reason"]) == (
        None,
        "all rows of one kind are of one prompt group: no test can be given",
    )


def test_the_standard_error_of_a_mean_is_clustered():
    row = metric(metrics_of("reward_margin", scored_pairs([2, 1, 0, -1], list("aabc"))), "mean")
    # less 0.5, by group: 1.5 + 0.5, -0.5, -1.5; squares 6.5, times 3/2; root 3.122499, over 4
    assert row["standard_error"] == pytest.approx(0.780625, abs=1e-6)


def test_a_tie_is_a_margin_within_the_tolerance():
    settings = EvaluationSettings(beta=1.0, tie_tolerance=1.0)
    found = metrics_of("pair_accuracy", scored_pairs([2, 1, 0, -1]), settings=settings)
    assert value(found, "accuracy") == 0.625  # (1 + 1/2 + 1/2 + 1/2) / 4
    assert value(found, "n_ties") == 3


def test_a_model_that_equals_its_reference_ties_every_pair():
    found = metrics_of("pair_accuracy", scored_pairs([0, 0, 0], model="untrained"))
    assert value(found, "accuracy", "untrained") == 0.5
    assert value(found, "n_ties", "untrained") == 3


@pytest.mark.parametrize(("margins", "low", "high"), [([1, 2, 3], 0.292402, 1.0), ([-1, -2, -3], 0.0, 0.707598)])
def test_a_share_of_one_or_nought_has_the_exact_interval(margins, low, high):
    found = metric(metrics_of("pair_accuracy", scored_pairs(margins)), "accuracy")
    # Clopper-Pearson with 3 groups that agree: 0.025 ** (1/3) = 0.292402
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), abs=1e-6)


def test_margin_mean_median_and_quantiles():
    found = metrics_of("reward_margin", scored_pairs([2, 1, 0, -1], ["a", "a", "b", "c"]))
    expected = {
        "mean": 0.5,  # (2 + 1 + 0 - 1) / 4
        "chosen_reward": 0.5,  # the policy moves chosen alone
        "rejected_reward": 0.0,
        "chosen_logps": -9.5,  # -10 + 0.5
        "rejected_logps": -10.0,
        "chosen_logps_change": 0.5,  # the reference has -10
        "rejected_logps_change": 0.0,
        "median": 0.5,  # sorted -1, 0, 1, 2: half-way from 0 to 1
        "quantile_0.05": -0.85,  # place 0.05 * 3 = 0.15: -1 + 0.15
        "quantile_0.25": -0.25,  # place 0.75: -1 + 0.75
        "quantile_0.75": 1.25,  # place 2.25: 1 + 0.25
        "quantile_0.95": 1.85,  # place 2.85: 1 + 0.85
        "both_logps_fall": 0.0,
    }
    assert {name: value(found, name) for name in expected} == pytest.approx(expected)
    assert found.height == len(expected)


def test_the_median_has_woodruffs_interval():
    settings = EvaluationSettings(beta=1.0, confidence=0.5)
    found = metric(metrics_of("reward_margin", scored_pairs([2, 1, 0, -1], list("aabc")), settings=settings), "median")
    # At or below 0.5, less a half, over 4: a -1/8 - 1/8, b 1/8, c 1/8. Squares 4/64 + 1/64 + 1/64 = 6/64; times
    # 3/2: 9/64; root 3/8. Student's t at 0.75 with 2 degrees of freedom is 0.816497: shares 0.5 -+ 0.306186, places
    # 0.581441 and 2.418559 of -1, 0, 1, 2.
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((-0.418559, 1.418559), abs=1e-5)


def test_both_logps_fall():
    rows = scored_pairs([-1, -2]).with_columns(pl.col("policy_rejected_logps") - 4)
    found = metric(metrics_of("reward_margin", rows), "both_logps_fall")
    assert found["value"] == 1.0  # chosen changed by (-1 - 2) / 2, rejected by -4; the margin still grows
    assert found["reason"] == "mean change of log-probs: chosen -1.5 nats, rejected -4 nats"


def test_auc_balanced_accuracies_and_separation():
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired([2, 1, 0], [1, -1]))
    expected = {
        "auc": 0.75,  # of 6 comparisons 2 beats 1 and -1, 1 ties 1 and beats -1, 0 beats -1: (2 + 1.5 + 1) / 6
        "balanced_accuracy_zero": 7 / 12,  # above 0: 2 of 3 desirable; not above 0: 1 of 2 undesirable
        "balanced_accuracy_best": 0.75,  # above -1: 3 of 3 and 1 of 2; above 0: 7/12; above 1: 1/3 and 1, 2/3
        "reward_separation": 1.0,  # (2 + 1 + 0) / 3 - (1 - 1) / 2
        # Placements 1, 3/4, 1/2 and 1/2, 1, less 3/4, over 3 and 2: squares 2/144 + 2/64, times 2/1, root 0.300463;
        # Student's t 0.25 / 0.300463 = 0.832050 with 1 degree of freedom: 1 - 2/pi atan(0.832050)
        "auc_chance_p": 0.558198,
    }
    assert {name: value(found, name) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found.height == len(expected)
    assert "threshold -1 was chosen on these same rows" in metric(found, "balanced_accuracy_best")["reason"]


def test_the_interval_of_auc():
    found = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired([5, 5, 0], [1, 1, 1])), "auc")
    # Placements 1, 1, 0 of the desirable and 2/3 three times of the undesirable, less 2/3, over 3: squares
    # 2 / 81 + 4 / 81 = 6/81; each class has 3 groups, so times 3/2: 9/81; root 1/3. Student's t at 0.75 with 2
    # degrees of freedom is 0.816497.
    half = metrics_of(
        "unpaired_auc",
        unpaired=scored_unpaired([5, 5, 0], [1, 1, 1]),
        settings=EvaluationSettings(beta=1.0, confidence=0.5),
    )
    assert (found["value"], found["standard_error"]) == pytest.approx((2 / 3, 1 / 3))
    assert (found["ci_low"], found["ci_high"]) == (0.0, 1.0)  # 4.3 standard errors each way
    assert metric(half, "auc")["ci_low"] == pytest.approx(2 / 3 - 0.816497 / 3, abs=1e-6)
    assert metric(half, "auc")["ci_high"] == pytest.approx(2 / 3 + 0.816497 / 3, abs=1e-6)


def test_the_exact_interval_rests_on_the_rarer_class():
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired([5, 6], [-1, -2, -3, -4, -5, -6]))
    for name in ("auc", "balanced_accuracy_zero", "balanced_accuracy_best"):
        row = metric(found, name)
        # 2 groups hold a desirable row: 0.025 ** (1/2) = 0.158114, where all 8 groups would give 0.630584
        assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((1.0, 0.158114, 1.0), abs=1e-6)


def test_rewards_that_are_all_equal_have_auc_one_half():
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired([0, 0], [0, 0, 0]))
    assert value(found, "auc") == 0.5
    assert value(found, "balanced_accuracy_zero") == 0.5  # nothing is above 0: none of 2, and 3 of 3
    assert value(found, "balanced_accuracy_best") == 0.5
    assert value(found, "reward_separation") == 0.0


def test_calibration_of_a_calibrated_model():
    found = metrics_of("calibration", scored_pairs([LN3, LN3, LN3, -LN3]))
    assert value(found, "brier") == pytest.approx(0.1875)  # (3 * (1/4)^2 + (3/4)^2) / 4
    assert value(found, "log_loss") == pytest.approx(0.5623351, abs=1e-6)  # (3 ln(4/3) + ln 4) / 4
    assert value(found, "ece") == pytest.approx(0.0, abs=1e-12)  # says 3/4, and 3 of 4 are right
    assert value(found, "temperature") == pytest.approx(1.0, abs=1e-4)


def test_calibration_of_a_model_twice_too_sure():
    found = metrics_of("calibration", scored_pairs([2 * LN3, 2 * LN3, 2 * LN3, -2 * LN3]))
    assert value(found, "brier") == pytest.approx(0.21)  # (3 * 0.1^2 + 0.9^2) / 4
    assert value(found, "log_loss") == pytest.approx(0.6546672, abs=1e-6)  # (3 ln(10/9) + ln 10) / 4
    assert value(found, "ece") == pytest.approx(0.15)  # says 0.9, and 0.75 are right
    assert value(found, "temperature") == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(("bins", "expected"), [(10, 0.175), (1, 0.075)])
def test_ece_is_summed_over_bins_of_confidence(bins, expected):
    rows = scored_pairs([LN3, -LN3, 2 * LN3, 2 * LN3])
    found = metrics_of("calibration", rows, settings=EvaluationSettings(beta=1.0, calibration_bins=bins))
    # 10 bins: |1 - 1.5| where it says 3/4 and |2 - 1.8| where it says 0.9, over 4; one bin: |3 - 3.3| / 4
    assert value(found, "ece") == pytest.approx(expected)


def test_length():
    sizes = [(10, 10), (11, 10), (20, 10), (10, 20), (10, 30)]
    found = metrics_of("length_bias", scored_pairs([2, -1, 1, 0, 1], lengths=sizes))
    expected = {
        "longer_wins_accuracy": (0.5, 5),  # (1/2 + 1 + 1 + 0 + 0) / 5
        "reference_free_sum_accuracy": (0.7, 5),  # log-probs differ by the margins: (1 + 0 + 1 + 1/2 + 1) / 5
        # -0.8 beats -1; -11/11 ties -1; -0.45 beats -1; -1 loses to -0.5; -0.9 loses to -1/3: 2.5 / 5
        "reference_free_mean_accuracy": (0.5, 5),
        "accuracy_length_matched": (0.5, 2),  # 10 and 10 is right, 11 and 10 is wrong
        "accuracy_chosen_longer": (0.5, 2),  # 11 is wrong, 20 is right
        "accuracy_chosen_shorter": (0.75, 2),  # a tie and a win
        "length_adjusted_accuracy": (0.625, 4),  # (0.5 + 0.75) / 2
        "chosen_tokens": (12.2, 5),  # 61 / 5
        "rejected_tokens": (16.0, 5),  # 80 / 5
    }
    for name, (number, rows) in expected.items():
        row = metric(found, name)
        assert (name, row["value"], row["n"]) == (name, pytest.approx(number), rows)
    assert found.filter(pl.col("slice").is_null()).height == len(expected)


def test_accuracy_within_strata_of_length():
    # chosen over rejected: 1/3 and 1/2; 10/11; 1; 1.1 and 1.09; 1.2 and 2; 3
    sizes = [(10, 30), (10, 20), (10, 11), (10, 10), (11, 10), (12, 11), (12, 10), (20, 10), (30, 10)]
    found = metrics_of("length_bias", scored_pairs([1, -1, 1, 1, -1, 1, -1, 0, 1], lengths=sizes))
    expected = {
        "under 0.5": (1.0, 1),
        "0.5 to 0.91": (0.0, 1),
        "0.91 to 1.1": (0.75, 4),  # 10/11 and 1.1 are a tenth apart and so matched
        "1.1 to 2": (0.25, 2),  # wrong, and a tie
        "over 2": (1.0, 1),
    }
    for name, (number, rows) in expected.items():
        row = metric(found, "accuracy_in_stratum", part=f"chosen_to_rejected_tokens={name}")
        assert (name, row["value"], row["n"]) == (name, number, rows)
        assert row["reason"].startswith("small slice: fewer than 30 prompt groups")
    assert metric(found, "accuracy_length_matched")["value"] == 0.75


def test_divergence():
    found = metrics_of("divergence", unpaired=scored_unpaired([1], [-2, -3], tokens=4))
    assert value(found, "reference_to_policy_per_sequence") == pytest.approx(4 / 3)  # (-1 + 2 + 3) / 3
    assert value(found, "reference_to_policy_per_token") == pytest.approx(1 / 3)  # 4 nats over 12 tokens
    assert set(found["unit"]) == {"nats"}


def test_divergence_on_pairs():
    rows = scored_pairs([1, -4], lengths=[(2, 3), (4, 1)]).with_columns(pl.col("policy_rejected_logps") - 3)
    found = metrics_of("pair_divergence", rows)
    # chosen -1 and 4, rejected 3 and 3: 9 nats over 4 answers and 10 tokens
    assert value(found, "reference_to_policy_per_sequence") == pytest.approx(2.25)
    assert value(found, "reference_to_policy_per_token") == pytest.approx(0.9)


def test_the_methods_own_loss():
    rows = scored_pairs([1, -1, 1, 1], list("aabc")).with_columns(loss=pl.Series([0.1, 0.5, 0.2, 0.4]))
    row = metric(metrics_of("pair_loss", rows), "loss")
    assert (row["value"], row["unit"], row["n"]) == (pytest.approx(0.3), "loss", 4)
    # less 0.3, by group: 0, -0.1, 0.1; squares 0.02, times 3/2; root 0.173205, over 4
    assert row["standard_error"] == pytest.approx(0.0433013, abs=1e-6)
    unpaired = scored_unpaired([1], [0, -1]).with_columns(loss=pl.Series([0.3, 0.6, 0.9]))
    assert value(metrics_of("unpaired_loss", unpaired=unpaired), "loss") == pytest.approx(0.6)


@pytest.mark.parametrize("losses", [None, [None, None], [0.5, None]])
def test_a_loss_that_is_not_there_for_every_row_has_no_mean(losses):
    rows = scored_pairs([1, -1])
    if losses is not None:
        rows = rows.with_columns(loss=pl.Series(losses, dtype=pl.Float64))
    row = metric(metrics_of("pair_loss", rows), "loss")
    assert (row["value"], row["n"]) == (None, 2)
    assert row["reason"].startswith("the rows have no column `loss`, or not a value in each")


def test_comparison():
    rows = pl.concat([scored_pairs([2, 1, 1, -1]), scored_pairs([1, -1, -1, -1], model="untrained")])
    found = metrics_of("comparison", rows)
    expected = {
        "accuracy_difference": 0.5,  # (0 + 1 + 1 + 0) / 4
        "margin_difference": 1.25,  # (1 + 2 + 2 + 0) / 4
        "mcnemar_p": 0.5,  # 2 of 2 changed for the better: 2 * (1/2)^2
        "sign_flip_p": 0.5,  # each pair is a group of its own
        # differences less their mean, over 4: four of 1/8 in size; 4/64 * 4/3 = 1/12; root 0.288675
        "minimum_detectable_effect": (T3_975 + T3_80) * 0.288675,
    }
    assert {name: value(found, name) for name in expected} == pytest.approx(expected, abs=1e-5)
    assert set(found["compared_with"]) == {"untrained"}
    assert metric(found, "mcnemar_p")["reason"] == "2 pairs better, 0 worse, 2 the same"
    assert metric(found, "minimum_detectable_effect")["reason"] == "in accuracy, at power 0.8"


def test_every_two_models_are_compared_and_corrected_by_holm():
    ties = scored_pairs([0] * 10, model="untrained")
    rows = pl.concat([scored_pairs([1] * 8 + [-1] * 2, model="a"), scored_pairs([1] * 10, model="b"), ties])
    found = metrics_of("comparison", rows)
    assert value(found, "accuracy_difference", "a") == pytest.approx(0.3)  # (8 - 2) / 2 / 10
    assert value(found, "accuracy_difference", "b", against="a") == pytest.approx(0.2)  # 2 / 10
    for name, what in (("mcnemar_p", "pairs"), ("sign_flip_p", "prompt groups")):
        # all of 10: 2 / 2^10, times three tests; 8 of 10: 2 (1 + 10 + 45) / 1024, times two; 2 of 2: 2 / 4, times one
        assert value(found, name, "b", against="untrained") == pytest.approx(3 * 2 / 1024)
        assert value(found, name, "a") == pytest.approx(2 * 0.109375)
        assert value(found, name, "b", against="a") == pytest.approx(0.5)
        words = f"8 {what} better, 2 worse, 0 the same; corrected for 3 comparisons"
        assert metric(found, name, "a")["reason"] == words


def test_holm_never_lowers_a_later_p_value():
    # sorted 0.01, 0.03, 0.04: times 3, 2, 1 gives 0.03, 0.06, 0.04; the last may not be below the one before
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]  # 0.8 * 2 is cut at 1


def test_models_that_never_differ_have_p_value_one():
    wins = np.array([1.0, 0.5, 0.0])
    assert mcnemar_exact(wins, wins) == 1.0


def test_the_power_sets_the_least_effect():
    # Student's t with 10 degrees of freedom: 2.228139 at 0.975, 0 at 0.5, 0.879058 at 0.8
    assert minimum_detectable_effect(0.1, 11, EvaluationSettings(power=0.5)) == pytest.approx(0.2228139, abs=1e-6)
    assert minimum_detectable_effect(0.1, 11, EvaluationSettings(power=0.8)) == pytest.approx(0.3107197, abs=1e-6)
    # and of very many groups the normal's: 1.959964 and 0.841621
    assert minimum_detectable_effect(0.1, 10**7, EvaluationSettings(power=0.8)) == pytest.approx(0.2801585, abs=1e-6)


@pytest.mark.parametrize(
    ("reward", "margin", "chosen"),
    [
        ("implicit", 2.0, 0.5),  # 0.5 * ((-6 + 7) - (-9 + 6)) and 0.5 * (-6 + 7)
        ("mean_implicit", 11 / 12, 1 / 6),  # 0.5 * (1/3 + 3/2) and 0.5 * 1/3
        ("sum_logps", 1.5, -3.0),  # 0.5 * (-6 + 9) and 0.5 * -6
        ("mean_logps", 1.25, -1.0),  # 0.5 * (-6/3 + 9/2) and 0.5 * -6/3
    ],
)
def test_what_a_reward_is(reward, margin, chosen):
    rows = scored_pairs([0], lengths=[(3, 2)]).with_columns(
        policy_chosen_logps=-6.0, policy_rejected_logps=-9.0, reference_chosen_logps=-7.0, reference_rejected_logps=-6.0
    )
    found = metrics_of("reward_margin", rows, settings=EvaluationSettings(beta=0.5, reward=reward))
    assert value(found, "mean") == pytest.approx(margin)
    assert value(found, "chosen_reward") == pytest.approx(chosen)


@pytest.mark.parametrize(
    ("reward", "separation"), [("implicit", 3.0), ("mean_implicit", 0.75), ("sum_logps", 3.0), ("mean_logps", 0.75)]
)
def test_what_a_reward_is_of_unpaired_rows(reward, separation):
    settings = EvaluationSettings(beta=1.0, reward=reward)
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired([1], [-2], tokens=4), settings=settings)
    assert value(found, "reward_separation") == pytest.approx(separation)  # 1 + 2, a quarter of it for each token


def test_slices_and_the_note_on_a_small_one():
    rows = scored_pairs([1, -1, 1, 1, 1]).with_columns(topic=pl.Series(["code", "code", "code", "talk", None]))
    settings = EvaluationSettings(beta=1.0, slice_columns=("topic",), small_slice_groups=3)
    found = metrics_of("pair_accuracy", rows, settings=settings)
    assert value(found, "accuracy") == 0.8  # 4 of 5
    code = metric(found, "accuracy", part="topic=code")
    assert (code["value"], code["n"], code["n_groups"], code["reason"]) == (pytest.approx(2 / 3), 3, 3, None)
    talk = metric(found, "n_ties", part="topic=talk")
    assert (talk["n"], talk["n_groups"]) == (1, 1)
    assert talk["reason"] == "small slice: fewer than 3 prompt groups"
    assert metric(found, "accuracy", part="topic=None")["n"] == 1


def test_slices_are_of_pairs_and_ask_nothing_of_unpaired_rows():
    rows = scored_pairs([1, -1]).with_columns(topic=pl.lit("code"))
    settings = EvaluationSettings(beta=1.0, slice_columns=("topic",))
    found = evaluate(rows, scored_unpaired([1], [0]), settings)
    assert value(found, "accuracy", part="topic=code") == 0.5
    assert value(found, "auc") == 1.0


def test_the_table_has_one_schema_and_every_evaluator():
    pairs = pl.concat([scored_pairs([1, -1]), scored_pairs([0, 0], model="untrained")])
    unpaired = pl.concat([scored_unpaired([1], [0]), scored_unpaired([0], [0], model="untrained")])
    found = evaluate(pairs, unpaired, PLAIN)
    assert dict(found.schema) == METRICS_SCHEMA
    assert set(found["evaluator"]) == set(EVALUATORS)
    key = found.select("evaluator", "metric", "model", "compared_with", "slice")
    assert key.is_duplicated().sum() == 0
