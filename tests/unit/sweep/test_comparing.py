"""The best setting against the others: paired by rows and by seeds, corrected, and called noise where it is."""

import math

import pytest

from tests.unit.sweep.stand_ins import results_of, sweep_plan, write_trial
from thumbline.pipeline.sweep.comparing import Comparison, compare_best

GOOD, BAD = [1.0] * 20, [-1.0] * 20
RATES = (1e-5, 2e-5, 3e-5)


def compared(plan, best=0):
    settings = list(plan.settings)
    found = compare_best(settings, settings[best], plan.measure)
    return {one.other: one for one in found}


def test_a_difference_is_that_of_the_same_pairs_with_the_exact_test_corrected_for_all_pairs_of_settings(tmp_path):
    plan = sweep_plan(tmp_path)
    half = [1.0] * 10 + [-1.0] * 10
    results_of(plan, {0.05: [GOOD], 0.1: [half], 0.3: [[*GOOD[:19], -1.0]]})
    found = compared(plan)
    clear, close = found[plan.settings[1].name], found[plan.settings[2].name]
    assert (clear.difference, close.difference) == (0.5, pytest.approx(0.05))
    # Ten prompts changed, all for the better: 2 of 2^10, times 3 comparisons by Holm's method.
    assert clear.p_value == pytest.approx(3 * 2 / 2**10)
    assert clear.low > 0.2 and clear.high < 0.8 and clear.comparisons == 3
    assert clear.is_more_than_noise(0.95)
    # One prompt changed: 2 of 2.
    assert close.p_value == 1.0
    assert not close.is_more_than_noise(0.95)


def test_seeds_have_to_agree_as_well(tmp_path):
    plan = sweep_plan(tmp_path, betas=(0.05, 0.1), seeds=(0, 1))
    results_of(plan, {0.05: [GOOD, [1.0] * 11 + [-1.0] * 9], 0.1: [BAD, BAD]})
    (one,) = compared(plan).values()
    # Differences of 1 and 0.55: Student's interval of two seeds is 12.7 standard errors wide.
    error = 0.45 / math.sqrt(2) / math.sqrt(2)
    assert one.difference == pytest.approx(0.775)
    assert one.seeds_low == pytest.approx(0.775 - 12.7062 * error, abs=1e-3)
    assert one.p_value <= 0.05 and (one.low is None or one.low > 0)
    assert not one.is_more_than_noise(0.95)


def test_the_p_value_of_several_seeds_is_twice_their_mean(tmp_path):
    plan = sweep_plan(tmp_path, betas=(0.05, 0.1), seeds=(0, 1))
    half = [1.0] * 10 + [-1.0] * 10
    results_of(plan, {0.05: [GOOD, GOOD], 0.1: [half, BAD]})
    (one,) = compared(plan).values()
    assert one.p_value == pytest.approx(2 * (2 / 2**10 + 2 / 2**20) / 2)


def test_margins_and_losses_are_compared_by_their_clustered_errors(tmp_path):
    for metric in ("margin", "loss"):
        plan = sweep_plan(tmp_path / metric, betas=RATES[:2], axis="train.learning_rate", metric=metric)
        first = [1.0 + 0.1 * (place % 3) for place in range(20)]
        second = [0.5 + 0.1 * (place % 2) for place in range(20)]
        for setting, values in zip(plan.settings, (first, second), strict=True):
            losses = [2.0 - value for value in values] if metric == "loss" else None
            write_trial(setting.trials[0], values, losses=losses)
        (one,) = compared(plan).values()
        scale = 0.1 if metric == "margin" else 1.0
        mean = sum(a - b for a, b in zip(first, second, strict=True)) / 20
        assert one.difference == pytest.approx(scale * mean)
        assert 0 < one.low < one.difference < one.high
        assert one.p_value < 1e-3 and one.is_more_than_noise(0.95)


def test_aucs_are_compared_on_the_unpaired_rows(tmp_path):
    plan = sweep_plan(tmp_path, betas=(0.05, 0.1), method="kto")
    apart = ([1.0 + 0.1 * place for place in range(15)], [-1.0 - 0.1 * place for place in range(15)])
    mixed = ([0.1 * place for place in range(15)], [0.1 * place + 0.05 for place in range(15)])
    for setting, rewards in zip(plan.settings, (apart, mixed), strict=True):
        write_trial(setting.trials[0], GOOD, rewards=rewards)
    (one,) = compared(plan).values()
    assert one.difference == pytest.approx(1.0 - mixed_auc(*mixed))
    assert one.low > 0 and one.is_more_than_noise(0.95)


def mixed_auc(desirable, undesirable):
    wins = sum((a > b) + 0.5 * (a == b) for a in desirable for b in undesirable)
    return wins / len(desirable) / len(undesirable)


def test_one_setting_has_nothing_to_be_compared_with(tmp_path):
    plan = sweep_plan(tmp_path, betas=(0.1,))
    assert compare_best(plan.settings, plan.settings[0], plan.measure) == []


def test_more_than_noise_takes_rows_and_seeds_and_a_test():
    sure = Comparison("b", 0.1, 0.02, 0.18, 0.01, 0.05, 0.15, 3)
    assert sure.is_more_than_noise(0.95)
    for part in ({"low": -0.01}, {"seeds_low": -0.01}, {"p_value": 0.06}, {"p_value": None}, {"difference": -0.1}):
        assert not sure._replace(**part).is_more_than_noise(0.95), part
    assert sure._replace(seeds_low=None, low=None).is_more_than_noise(0.95)
    assert not sure.is_more_than_noise(0.995)
