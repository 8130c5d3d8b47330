"""What to do next: each weakness that a page names gives one command, and none gives none."""

import dataclasses

import polars as pl
import pytest

from tests.report_inputs import dpo_run, evaluate_only
from thumbline.pipeline.config import build_config
from thumbline.pipeline.report import render_report
from thumbline.pipeline.report.evaluation_facts import evaluation_facts
from thumbline.pipeline.report.next_steps import rater_rule, with_settings
from thumbline.pipeline.report.verdict import verdict


def steps(inputs):
    return {step.why: step.command for step in verdict(inputs, evaluation_facts(inputs)).next_steps}


def found(inputs, words):
    return [command for why, command in steps(inputs).items() if words in why]


def with_raters(inputs, one_label_votes):
    raters = pl.DataFrame(
        {"user_id": ["a", "b"], "n_votes": [one_label_votes, 90], "n_up": [0, 40], "one_label": [True, False]}
    )
    return dataclasses.replace(inputs, tables={**inputs.tables, "raters": raters})


def with_config(inputs, **sections):
    document = {"name": "q", "model": "demo", "events": {"inputs": ["a.jsonl"]}, **sections}
    return dataclasses.replace(inputs, config=build_config(document, origin="test"))


def test_raters_of_one_label_call_for_a_rule_that_is_not_on_already():
    run = with_raters(dpo_run(), 10)
    step = rater_rule(run)
    assert step.why.startswith("1 rater always gave the same thumb, in 10 votes, 10.0% of all.")
    assert step.command == "thumbline run pipeline/configs/quickstart.yaml --set responses.reliability=dawid_skene"
    assert rater_rule(with_config(run, responses={"reliability": "one_label"})) is None
    assert rater_rule(with_raters(dpo_run(), 0)) is None


def test_rewards_that_both_fell_call_for_lower_rates():
    fell = dpo_run(gain=4, drop=30)
    assert found(fell, "less likely") == [
        "thumbline sweep pipeline/configs/quickstart.yaml --over train.learning_rate=6.7e-06,2e-06"
    ]
    assert found(dpo_run(gain=14, drop=0), "less likely") == []


def test_a_test_split_that_is_too_small_says_how_many_pairs_it_takes():
    weak = dpo_run(gain=1, drop=0)
    (why,) = (why for why in steps(weak) if "The test split" in why)
    facts = evaluation_facts(weak)
    least, gap = (
        facts.find("comparison", name, "trained", "untrained").value
        for name in ("minimum_detectable_effect", "accuracy_difference")
    )
    pairs = facts.find("comparison", "accuracy_difference", "trained", "untrained").n
    assert f"about {-int(-pairs * (least / gap) ** 2 // 1):,}" in why
    assert found(weak, "The test split")[0].endswith("--set splits.test=0.4")


def test_a_better_model_is_followed_by_its_launch_test():
    better = dpo_run(gain=40, drop=0)
    assert verdict(better, evaluation_facts(better)).tone == "better"
    assert found(better, "A/B test") == ["thumbline launch-plan runs/quickstart"]
    assert found(dpo_run(gain=0, drop=0), "A/B test") == []


def test_rows_without_a_run_have_no_command():
    assert steps(evaluate_only()) == {}


@pytest.mark.parametrize(
    ("command", "again"),
    [
        ("thumbline run a.yaml --from train --set x.y=1", "thumbline run a.yaml --set x.y=1 --set a.b=2"),
        ("thumbline prepare log.jsonl -o out", "thumbline prepare log.jsonl -o out --set a.b=2"),
        ("python train.py", "thumbline run quickstart.yaml --set a.b=2"),
        (
            "thumbline run a.yaml --set events.user_key=abc",
            "thumbline run a.yaml --set events.user_key=(kept secret) --set a.b=2",
        ),
    ],
)
def test_the_command_goes_on_where_the_run_s_own_ended(command, again):
    made = with_settings(dataclasses.replace(dpo_run(), command=command), "a.b=2")
    assert made == again


def test_the_page_shows_reason_and_command():
    page = render_report(with_raters(dpo_run(), 10))
    assert "What to do next" in page
    assert "--set responses.reliability=dawid_skene</pre>" in page
