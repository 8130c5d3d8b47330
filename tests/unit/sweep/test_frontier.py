"""Choosing by the price: the cheapest setting whose answers are surely better, and what the page says of it."""

import json

import polars as pl
import pytest

from tests.asked_inputs import FIRST, Story, metrics
from tests.unit.sweep.stand_ins import results_of, sweep_plan
from thumbline.evaluators import FrontierPoint
from thumbline.pipeline.config import build_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.sweep import Axis, plan_sweep, trial_table, write_outcome
from thumbline.pipeline.sweep.choosing import best_of, ranked
from thumbline.pipeline.sweep.frontier import cheapest, over_seeds, point_of
from thumbline.pipeline.sweep.measures import Average, values_of
from thumbline.pipeline.sweep.outcome import Outcome
from thumbline.pipeline.sweep.words import notes, rule, setting_rows, verdict

RATES = (1e-5, 2e-5, 4e-5)
ASKED = {"generations": {"samples": 2}, "judges": [{"judge": "rules.py:criterion", "name": FIRST}]}


def asked_plan(folder, metric="frontier", seeds=(0,), **more):
    document = {
        "name": "mine",
        "model": "demo",
        "runs": str(folder),
        "events": {"inputs": ["log.jsonl"]},
        "train": {"method": "dpo"},
        "metrics": {"bootstrap_draws": 200},
        **ASKED,
        **more,
    }
    config = build_config(document, origin="test")
    return plan_sweep(config, [Axis("train.learning_rate", RATES)], seeds=seeds, metric=metric)


def point(won, paid, *, half=0.05, p=0.001, broken=()):
    return FrontierPoint("x", won, won - half, won + half, p, paid, paid - 0.01, paid + 0.01, broken)


def with_points(plan, *points):
    """Settings that all rank preferences alike, with these win rates and prices."""
    results = results_of(plan, {rate: [[1.0] * 8] * len(plan.seeds) for rate in RATES})
    found = []
    for result, one in zip(results, points, strict=True):
        won = Average(one.won, one.won_low, one.won_high, None, 160, 40)
        placed = one._replace(model=result.setting.name)
        found.append(result._replace(point=placed, averages={**result.averages, "win_rate": won}))
    return found


def rates(results):
    return [result.setting.values["train.learning_rate"] for result in results]


def test_the_cheapest_that_is_surely_better_is_chosen_not_the_highest_win_rate(tmp_path):
    plan = asked_plan(tmp_path)
    results = with_points(plan, point(0.52, 0.0), point(0.62, 0.04), point(0.95, 0.26))
    assert rates(ranked(plan, results)) == [2e-5, 4e-5, 1e-5]
    by_wins = asked_plan(tmp_path / "wins", "win_rate")
    assert rates(ranked(by_wins, with_points(by_wins, *[result.point for result in results]))) == [4e-5, 2e-5, 1e-5]


def test_a_test_that_many_settings_weaken_and_broken_answers_are_not_surely_better(tmp_path):
    plan = asked_plan(tmp_path)
    # 3 times 0.02 is above 0.05; repeating itself is no answer.
    results = with_points(plan, point(0.6, 0.0, p=0.02), point(0.9, 0.01, broken=("repetition",)), point(0.7, 0.1))
    assert rates(ranked(plan, results))[0] == 4e-5


def test_where_none_is_surely_better_the_highest_win_rate_is_taken_and_that_is_said(tmp_path):
    plan = asked_plan(tmp_path)
    results = with_points(plan, point(0.52, 0.0), point(0.54, 0.3), point(0.53, 0.1))
    assert best_of(plan, results).setting.values["train.learning_rate"] == 2e-5
    assert "No setting's answers are surely better than the untrained model's by criterion." in notes(
        made(plan, results)
    )


def test_what_is_not_best_so_far_never_will_be(tmp_path):
    plan = asked_plan(tmp_path)
    results = with_points(plan, point(0.9, 0.2), point(0.6, 0.1, p=0.04), point(0.7, 0.05))
    assert [rates([best_of(plan, results[:count])])[0] for count in (1, 2, 3)] == [1e-5, 1e-5, 4e-5]


def made(plan, results):
    order = ranked(plan, results)
    return Outcome(plan, tuple(order), order[0].setting, (), None)


def test_page_and_facts_show_the_frontier(tmp_path):
    plan = asked_plan(tmp_path)
    outcome = made(plan, with_points(plan, point(0.52, 0.06), point(0.62, 0.04), point(0.95, 0.26)))
    # The first wins less for more than the second.
    assert [name.rpartition("_")[2] for name in outcome.frontier] == ["2e-05", "4e-05"]
    assert outcome.cheapest == outcome.best.name
    assert rule(plan).startswith("Chosen is the cheapest setting whose answers to prompts of the validation split")
    assert "with a win rate of answers of 62.0% (57.0% to 67.0%) on 160 sampled answers in 40" in verdict(outcome)
    assert (
        "learning_rate 2e-05, with a win rate of 62.0% (57.0% to 67.0%) for +4.0% nats a token (+3.0% to +5.0%)."
        in (" ".join(notes(outcome)))
    )
    assert setting_rows(outcome, ["win_rate"])[0]["nats a token"] == "+4.0% (+3.0% to +5.0%)"
    write_outcome(outcome, "thumbline sweep mine.yaml")
    facts = json.loads((plan.output / "sweep.json").read_text())
    assert (facts["metric"], facts["judge"], facts["cheapest_surely_better"]) == ("frontier", FIRST, outcome.best.name)
    assert [one["on_frontier"] for one in facts["settings"]] == [True, True, False]
    assert facts["settings"][0]["price"]["paid"] == 0.04
    page = (plan.output / "sweep.html").read_text()
    assert "Surely better, and the cheapest" in page and 'id="price"' in page and page.count("<svg") == 2
    assert "win_rate" in trial_table(outcome).columns


def test_a_sweep_whose_model_was_not_asked_has_no_columns_of_answers(tmp_path):
    plan = sweep_plan(tmp_path, betas=(1e-5, 2e-5), axis="train.learning_rate")
    outcome = made(plan, results_of(plan, {1e-5: [[1.0] * 8], 2e-5: [[1.0] * 8]}))
    assert not {"Win rate of answers", "nats a token"} & set(setting_rows(outcome, ["accuracy", "win_rate"])[0])


def test_a_point_is_read_of_a_trials_metrics_by_the_first_judge(tmp_path):
    plan = asked_plan(tmp_path)
    table = metrics(Story(wins=0.6, second=0.9, stranger=1.04))
    found = point_of(table, plan.trials[0].config)
    assert (found.won, found.p, found.paid) == (0.6, 0.001, pytest.approx(0.04))
    assert values_of(table, FIRST)["win_rate"].value == 0.6
    assert values_of(table)["win_rate"].value is None
    broken = point_of(metrics(Story(repetition=0.5)), plan.trials[0].config)
    assert broken.broken == ("repetition",)
    assert point_of(pl.DataFrame(schema=table.schema), plan.trials[0].config) is None


def test_seeds_are_averaged_and_their_p_values_doubled():
    found = over_seeds("mine", [point(0.6, 0.1, p=0.01), point(0.7, 0.2, p=0.03, broken=("empty",))])
    # Means 0.65, 0.15; 2 (0.01 + 0.03) / 2 = 0.04.
    assert (found.model, found.won, found.paid) == ("mine", pytest.approx(0.65), pytest.approx(0.15))
    assert (found.p, found.broken) == (pytest.approx(0.04), ("empty",))
    assert over_seeds("mine", [point(0.6, 0.1), None]) is None
    assert cheapest([point(0.6, 0.1)], 1, 0.95) == "x"


@pytest.mark.parametrize("metric", ["frontier", "win_rate"])
@pytest.mark.parametrize("lacks", [{"judges": []}, {"generations": {}}])
def test_answers_that_nobody_samples_or_judges_cannot_choose(tmp_path, metric, lacks):
    with pytest.raises(ConfigError, match="set `generations: {samples: 4}` and `judges`"):
        asked_plan(tmp_path, metric, **lacks)


@pytest.mark.parametrize("key", ["generations.temperature", "judges", "thumbs.epochs"])
def test_what_asks_the_model_is_no_axis(tmp_path, key):
    with pytest.raises(ConfigError, match="Only settings of train can vary"):
        sweep_plan(tmp_path, axis=key)
