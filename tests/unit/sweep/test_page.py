"""What a sweep says: sentences, the page, and the table of trials, of outcomes worked by hand."""

import json
import re

import polars as pl
import pytest

from tests.unit.sweep.stand_ins import failed, results_of, sweep_plan
from thumbline.pipeline.sweep import trial_table, write_outcome
from thumbline.pipeline.sweep.choosing import ranked
from thumbline.pipeline.sweep.comparing import compare_best
from thumbline.pipeline.sweep.measures import Value
from thumbline.pipeline.sweep.outcome import FinalResult, Outcome
from thumbline.pipeline.sweep.page import render_sweep
from thumbline.pipeline.sweep.words import against_default, final_text, notes, rule, setting_rows, verdict

GOOD, HALF, LESS = [1.0] * 20, [1.0] * 10 + [-1.0] * 10, [*[1.0] * 19, -1.0]


def outcome_of(plan, results, tested=None):
    order = ranked(plan, results)
    done = [result.setting for result in results if result.status == "done"]
    compared = compare_best(done, order[0].setting, plan.measure)
    return Outcome(plan, tuple(order), order[0].setting, tuple(compared), tested)


@pytest.fixture
def outcome(tmp_path):
    plan = sweep_plan(tmp_path)
    results = results_of(plan, {0.05: [GOOD], 0.1: [HALF], 0.3: [LESS]})
    values = {"accuracy": Value(0.8, 0.7, 0.9, 40, 40)}
    report, model = tmp_path / "report.html", tmp_path / "model"
    return outcome_of(plan, results, FinalResult("test", values, "It beats the untrained one.", report, model))


def test_the_best_is_named_with_its_number_and_what_the_difference_is_worth(outcome):
    said = verdict(outcome)
    assert said.startswith("Best of 3 settings: beta 0.05, with a preference accuracy of 100.0% (")
    assert "on 20 pairs in 20 prompt groups of the validation split." in said
    assert "ahead of the runner-up, beta 0.3, by +5.0 pp" in said
    assert "is not more than noise (p = 1.000 by prompt group, corrected for 3 pairs of settings)" in said
    assert "+50.0 pp" in against_default(outcome) and "which is more than noise (p = 0.006" in against_default(outcome)
    assert final_text(outcome) == (
        "On the test split: preference accuracy 80.0% (70.0% to 90.0%). It beats the untrained one."
    )


def test_what_to_beware_of_is_said(outcome, tmp_path):
    said = " ".join(notes(outcome))
    assert "The best of 3 was chosen on the rows that its number is of" in said
    assert "report the one of the test split, which was looked at for this setting alone" in said
    untested = Outcome(outcome.plan, outcome.results, outcome.best, outcome.comparisons, None)
    assert "one to report takes rows that nothing was chosen by" in " ".join(notes(untested))
    assert final_text(untested) is None
    assert "One seed: how far another one would move these numbers is not known" in said
    assert "Margins have each setting's own scale" in said and "Losses are each setting's own" in said
    assert "failed" not in said and "rewards of different kinds" not in said
    rates = sweep_plan(tmp_path / "rates", betas=(1e-5, 2e-5), axis="train.learning_rate", seeds=(0, 1))
    results = results_of(rates, {1e-5: [GOOD, GOOD], 2e-5: [HALF, HALF]})
    said = " ".join(notes(outcome_of(rates, [results[0], failed(rates.settings[1])])))
    assert "1 setting failed and cannot be chosen" in said
    assert "One seed" not in said and "Margins" not in said and "Losses" not in said
    methods = sweep_plan(tmp_path / "methods", betas=("dpo", "simpo"), axis="train.method")
    results = results_of(methods, {"dpo": [GOOD], "simpo": [HALF]})
    assert "rewards of different kinds" in " ".join(notes(outcome_of(methods, results)))


def test_the_rule_says_what_ties_go_by(tmp_path):
    betas = sweep_plan(tmp_path, seeds=(0, 1))
    assert rule(betas) == (
        "Chosen by the highest preference accuracy on the validation split, mean of 2 seeds (± is their standard "
        "deviation); equal ones by AUC, then the order of the grid."
    )
    rates = sweep_plan(tmp_path, betas=(1e-5, 2e-5), axis="train.learning_rate", metric="loss")
    assert rule(rates) == (
        "Chosen by the lowest method's loss on the validation split; equal ones by preference accuracy, then the order "
        "of the grid."
    )


def test_settings_that_are_level_are_not_said_to_be_ahead(tmp_path):
    plan = sweep_plan(tmp_path, seeds=(0, 1))
    results = results_of(plan, {0.05: [GOOD, GOOD], 0.1: [GOOD, GOOD], 0.3: [HALF, LESS]})
    found = outcome_of(plan, results)
    assert verdict(found).endswith("It is level with the runner-up, beta 0.1: the order of the grid decides.")
    assert against_default(found) is None
    rows = setting_rows(found, ["accuracy"])
    assert [row["behind the best"] for row in rows] == ["", "level", "\N{MINUS SIGN}27.5 pp, may be noise"]
    assert rows[2]["Preference accuracy"].endswith("seeds ±31.8%")
    assert [row["note"] for row in rows] == ["", "the run file's own", ""]


def test_what_decides_between_settings_that_are_level_is_said(tmp_path):
    plan = sweep_plan(tmp_path, betas=(1e-5, 2e-5), axis="train.learning_rate")
    results = results_of(plan, {1e-5: [GOOD], 2e-5: [[2.0] * 20]})
    # At beta 0.1 the margins are 0.1 and 0.2.
    assert verdict(outcome_of(plan, results)).endswith(
        "It is level with the runner-up, learning_rate 1e-05: reward margin (0.200 against 0.100) decides."
    )


def test_files_hold_every_trial_and_the_page_shows_it(outcome):
    write_outcome(outcome, "thumbline sweep mine.yaml")
    folder = outcome.plan.output
    table = pl.read_parquet(folder / "sweep.parquet")
    assert table.equals(trial_table(outcome))
    assert table["train.loss.beta"].to_list() == [0.05, 0.3, 0.1]
    assert table["accuracy"].to_list() == [1.0, 0.95, 0.5] and table["best"].to_list() == [True, False, False]
    facts = json.loads((folder / "sweep.json").read_text())
    assert [one["best_less_this"] and one["best_less_this"]["more_than_noise"] for one in facts["settings"]] == [
        None,
        False,
        True,
    ]
    assert facts["tested"]["values"]["accuracy"]["value"] == 0.8
    page = (folder / "sweep.html").read_text()
    assert page.count("<table") == 2 and "<svg" in page and "thumbline sweep mine.yaml" in page
    # Columns are sorted by numbers, which letters would put in another order.
    assert re.search(r'data-value="0.05">0.05<', page) and 'data-value="95.0">95.0%' in page


def test_a_name_cannot_break_out_of_the_page(tmp_path):
    plan = sweep_plan(tmp_path, betas=("dpo", "ipo"), axis="train.method")
    results = results_of(plan, {"dpo": [GOOD], "ipo": [HALF]})
    errors = [results[0], failed(plan.settings[1], error="<script>alert(1)</script>")]
    page = render_sweep(outcome_of(plan, errors), "<img src=x>")
    assert "<script>alert" not in page and "<img" not in page and "&lt;script&gt;alert" in page


def test_values_of_several_types_are_kept_as_json(tmp_path):
    plan = sweep_plan(tmp_path, betas=(3, None), axis="train.max_steps")
    table = trial_table(outcome_of(plan, results_of(plan, {3: [GOOD], None: [HALF]})))
    assert table["train.max_steps"].to_list() == ["3", "null"]
    whole = sweep_plan(tmp_path / "whole", betas=(3, 4), axis="train.max_steps")
    assert trial_table(outcome_of(whole, results_of(whole, {3: [GOOD], 4: [HALF]})))["train.max_steps"].to_list() == [
        3,
        4,
    ]
