"""Which setting is best: by the mean over the seeds, with ties broken by what is comparable, failed ones never."""

import pytest

from tests.unit.sweep.stand_ins import failed, results_of, sweep_plan, write_trial
from thumbline.pipeline.sweep.choosing import best_of, ranked, result_of
from thumbline.pipeline.sweep.measures import Value, average


def names(results):
    return [next(iter(result.setting.values.values())) for result in results]


def test_the_mean_over_seeds_decides_not_the_luckiest_seed(tmp_path):
    plan = sweep_plan(tmp_path, seeds=(0, 1))
    # Accuracies by hand: 1 and 0.25 (mean 0.625); 0.75 and 0.75; 0.5 and 0.5.
    results = results_of(
        plan,
        {
            0.05: [[1, 1, 1, 1], [1, -1, -1, -1]],
            0.1: [[1, 1, 1, -1], [-1, 1, 1, 1]],
            0.3: [[1, 1, -1, -1], [1, -1, 1, -1]],
        },
    )
    assert names(ranked(plan, results)) == [0.1, 0.05, 0.3]
    best = best_of(plan, results).averages["accuracy"]
    assert (best.mean, best.spread, best.n, best.n_groups) == (0.75, 0.0, 4, 4)
    lucky = results[0].averages["accuracy"]
    # The standard deviation of 1 and 0.25 is 0.75 / sqrt(2).
    assert (lucky.mean, lucky.spread) == (0.625, pytest.approx(0.75 / 2**0.5))


def test_equal_accuracies_go_by_the_margin_only_where_its_scale_is_one(tmp_path):
    rates = (1e-5, 2e-5)
    plan = sweep_plan(tmp_path / "rates", betas=rates, axis="train.learning_rate")
    results = results_of(plan, {1e-5: [[1, 1, -1]], 2e-5: [[5, 5, -1]]})
    assert names(ranked(plan, results)) == [2e-5, 1e-5]
    plan = sweep_plan(tmp_path / "betas", betas=(0.1, 0.3))
    results = results_of(plan, {0.1: [[1, 1, -1]], 0.3: [[5, 5, -1]]})
    # The margin of 0.3 is 27 times as large, and means nothing beside the other: the order of the grid decides.
    assert names(ranked(plan, results)) == [0.1, 0.3]


def test_less_loss_is_better(tmp_path):
    rates = (1e-5, 2e-5)
    plan = sweep_plan(tmp_path, betas=rates, axis="train.learning_rate", metric="loss")
    losses = ([0.4, 0.6], [0.3, 0.4])
    results = [
        result_of(setting, [write_trial(setting.trials[0], [1, 1], losses=values)])
        for setting, values in zip(plan.settings, losses, strict=True)
    ]
    assert [result.averages["loss"].mean for result in results] == pytest.approx([0.5, 0.35])
    assert names(ranked(plan, results)) == [2e-5, 1e-5]


def test_a_setting_of_which_a_seed_failed_is_never_chosen(tmp_path):
    plan = sweep_plan(tmp_path, seeds=(0, 1))
    results = results_of(plan, {0.05: [[1, 1]] * 2, 0.1: [[1, -1]] * 2, 0.3: [[-1, -1]] * 2})
    broken = results[0]._replace(trials=(results[0].trials[0], failed(plan.settings[0]).trials[1]))
    again = failed(plan.settings[0])._replace(trials=broken.trials)
    assert (again.status, again.errors) == ("failed", ("train: the gradient of step 3 is not finite",))
    assert names(ranked(plan, [again, *results[1:]])) == [0.1, 0.3, 0.05]
    assert best_of(plan, [failed(setting) for setting in plan.settings]) is None


def test_what_is_not_best_so_far_never_will_be(tmp_path):
    plan = sweep_plan(tmp_path)
    results = results_of(plan, {0.05: [[1, -1, 1]], 0.1: [[1, 1, 1]], 0.3: [[1, 1, 1]]})
    so_far = [best_of(plan, results[:count]).setting.values["train.loss.beta"] for count in (1, 2, 3)]
    assert so_far == [0.05, 0.1, 0.1]


def test_an_average_needs_a_number_of_each_seed_and_an_interval_of_each():
    whole, open_ended = Value(0.5, 0.25, 0.75, 8, 4), Value(0.75, None, None, 8, 4)
    assert average([whole, Value(None, None, None, 0, 0)]) is None
    assert average([]) is None
    both = average([whole, open_ended])
    assert (both.mean, both.low, both.high) == (0.625, None, None)
    two = average([whole, Value(0.75, 0.5, 1.0, 8, 4)])
    assert (two.mean, two.low, two.high) == (0.625, 0.375, 0.875)
