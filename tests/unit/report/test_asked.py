"""The verdict and the page where the model was asked: who decides, what is paid, what is shown of lost answers."""

import dataclasses
import json

import jsonschema
import polars as pl
import pytest

from tests.answer_rows import answer_tables
from tests.asked_inputs import FIRST, SECOND, Story, asked_run
from tests.report_inputs import SCRIPT, dpo_run, identifier
from thumbline.evaluators import METRICS_SCHEMA, EvaluationSettings, evaluate_answers
from thumbline.pipeline.report import metrics_schema, report_files, shown_answers, summary
from thumbline.pipeline.report.answers_facts import rate_bins
from thumbline.pipeline.report.evaluation_facts import evaluation_facts
from thumbline.pipeline.report.formatting import MINUS
from thumbline.pipeline.report.verdict import verdict
from thumbline.pipeline.report.worst_losses import visible, worst_losses


def said(story=None, **options):
    inputs = asked_run(story, **options)
    return verdict(inputs, evaluation_facts(inputs))


@pytest.fixture(scope="module")
def files():
    return report_files(asked_run(Story(stranger=1.26, longer=0.81)))


# --- who decides


def test_answers_decide_and_preferences_that_agree_are_named():
    found = said()
    assert (found.tone, found.decided_by) == ("better", "answers")
    assert not any("judge" in step.why for step in found.next_steps)
    assert found.sentence.startswith(
        "The trained model writes better answers than the untrained model: criterion prefers them in 73.0% (95% "
        "interval 70.0% to 76.0%), with a mean score of 98.0% against 52.0%. Held-out preferences agree. The price: "
        f"2.0% more nats a token under the untrained model ({MINUS}1.0% to +5.0%); 3.0% fewer tokens an answer"
    )
    assert found.basis.startswith("160 sampled answers in 40 prompt groups; whole groups were resampled, a tie (10.0%)")
    assert "28 prompt groups better, 9 worse (exact test by prompt group: p = 0.001)." in found.basis
    assert [(one.source, one.tone, one.decides) for one in found.statements] == [
        ("preferences", "better", False),
        ("answers", "better", True),
        ("predicted", "better", False),
        ("price", "same", False),
    ]


@pytest.mark.parametrize(
    ("story", "tone", "start"),
    [
        (Story(wins=0.31), "worse", "Held-out preferences say better, sampled answers say worse: answers decide."),
        (
            Story(wins=0.5),
            "same",
            "Held-out preferences say better, sampled answers say no difference: answers decide.",
        ),
        # The interval lies above one half, and the test of whole groups does not find it.
        (Story(wins=0.55, wins_p=0.2), "same", "Held-out preferences say better, sampled answers say no difference:"),
    ],
)
def test_where_the_two_disagree_that_is_the_headline(story, tone, start):
    found = said(story)
    assert (found.tone, found.decided_by) == (tone, "answers")
    assert found.sentence.startswith(start)


def test_answers_are_better_where_preferences_show_nothing():
    found = said(gain=0, drop=0)
    assert found.tone == "better"
    assert found.sentence.startswith("Held-out preferences say no difference, sampled answers say better")


def test_the_first_judge_of_the_run_file_decides_and_another_is_heard():
    inputs = asked_run(Story(wins=0.73, second=0.3))
    turned = dataclasses.replace(inputs, config=inputs.config.model_copy(update={"judges": inputs.config.judges[::-1]}))
    first, second = (verdict(one, evaluation_facts(one)) for one in (inputs, turned))
    assert (first.tone, second.tone) == ("better", "worse")
    assert [flag.title for flag in first.flags] == [f"{SECOND} sees it otherwise"]
    assert [flag.title for flag in second.flags] == [f"{FIRST} sees it otherwise"]


def test_without_answers_the_page_is_about_preferences_and_says_what_asks_the_model():
    found = verdict(run := dpo_run(), evaluation_facts(run))
    assert (found.tone, found.decided_by, found.statements) == ("better", "preferences", ())
    (step,) = (one for one in found.next_steps if "The model was not asked" in one.why)
    assert step.command == (
        "thumbline run pipeline/configs/quickstart.yaml --set generations.samples=4 --set thumbs.method=reward_bce "
        "--set 'judges=[{judge: thumbs}]'"
    )
    page = report_files(run)["report.html"]
    assert "<code>thumbline judges</code>" in page
    assert "--set &#39;judges=[{judge: thumbs}]&#39;</pre>" in page
    assert 'id="answers"' not in page


def test_answers_without_a_judge_leave_it_to_preferences_and_ask_for_one():
    inputs = asked_run()
    rows = inputs.tables["metrics"].filter(pl.col("judge").is_null())
    found = verdict(
        one := dataclasses.replace(inputs, tables={**inputs.tables, "metrics": rows}), evaluation_facts(one)
    )
    assert (found.tone, found.decided_by) == ("better", "preferences")
    # Others may have said something: only the first gave no number.
    assert any("the judge that decides, gave no number" in step.why for step in found.next_steps)
    assert "The price: 2.0% more nats a token" in found.sentence


# --- the price


@pytest.mark.parametrize(
    ("story", "tone", "words"),
    [
        (Story(stranger=1.26, longer=0.81), "priced", "It is paid for: 26.0% more nats a token"),
        (Story(repetition=0.08), "priced", "text that repeats itself +8.0 pp"),
        # Length is said and no price: the judge was held at equal length.
        (Story(longer=1.4), "better", "40.0% more tokens an answer"),
        # Text that the untrained model finds likelier costs nothing.
        (Story(stranger=0.8), "better", "20.0% fewer nats a token"),
    ],
)
def test_better_at_a_price_is_never_plain_better(story, tone, words):
    found = said(story)
    assert (found.tone, found.decided_by) == (tone, "answers")
    assert words in found.sentence


def test_worse_is_not_softened_by_a_price():
    assert said(Story(wins=0.3, stranger=1.5)).tone == "worse"


def test_what_is_too_much_is_the_run_files():
    inputs = asked_run(Story(stranger=1.26))
    report = inputs.config.report.model_copy(update={"most_price": 0.3})
    lenient = dataclasses.replace(inputs, config=inputs.config.model_copy(update={"report": report}))
    assert verdict(lenient, evaluation_facts(lenient)).tone == "better"
    broken = asked_run(Story(repetition=0.3))
    report = broken.config.report.model_copy(update={"most_broken": 0.4})
    lenient = dataclasses.replace(broken, config=broken.config.model_copy(update={"report": report}))
    tones = [verdict(one, evaluation_facts(one)).tone for one in (broken, lenient)]
    assert tones == ["worse", "priced"]


@pytest.mark.parametrize("story", [Story(repetition=0.5), Story(empty=0.4)])
def test_answers_that_break_are_worse_though_judge_and_rewards_like_them(story):
    found = said(story)
    assert (found.tone, found.decided_by) == ("worse", "text")
    assert found.sentence.startswith("The answers of the trained model break: ")
    assert found.sentence.endswith("sampled answers say better, held-out preferences say better.")


def test_wins_that_length_explains_are_flagged():
    flags = {flag.title: flag.text for flag in said(Story(length_controlled=0.49)).flags}
    assert "At equal length the win rate by criterion is 49.0%" in flags["Length may be what wins"]
    assert not said().flags


# --- with the evaluators' own numbers


def judged_for_real(scores, texts=None, *, gain=14.0):
    """The verdict on hand-made answers: `metrics` are what the evaluators make of them."""
    tables = answer_tables(scores, texts, judge=FIRST)
    settings = EvaluationSettings(bootstrap_draws=200, baseline="untrained")
    run = asked_run(gain=gain, drop=9.0)
    rows = run.tables["metrics"].filter(pl.col("evaluator").is_in(["pair_accuracy", "comparison"]))
    metrics = pl.concat([rows.select(list(METRICS_SCHEMA)), evaluate_answers(tables, settings)])
    inputs = dataclasses.replace(run, tables={**run.tables, "metrics": metrics})
    return verdict(inputs, evaluation_facts(inputs))


def test_a_model_made_worse_is_called_worse_while_its_rewards_rise():
    # 12 prompts of 2 answers: the judge finds every trained one worse.
    found = judged_for_real({"untrained": [[0.9, 0.8]] * 12, "trained": [[0.2, 0.1]] * 12})
    assert (found.tone, found.decided_by) == ("worse", "answers")
    assert found.sentence.startswith("Held-out preferences say better, sampled answers say worse: answers decide.")
    better = judged_for_real({"untrained": [[0.2, 0.1]] * 12, "trained": [[0.9, 0.8]] * 12})
    assert (better.tone, better.decided_by) == ("better", "answers")


def test_a_model_that_repeats_itself_is_called_worse_though_judge_and_rewards_rise():
    plain = [[f"the tide of {place} rises twice a day, since the moon pulls at the water"] for place in range(12)]
    stuck = [[f"good {place} " + "so very good indeed " * 30] for place in range(12)]
    scores = {"untrained": [[0.2]] * 12, "trained": [[0.9]] * 12}
    found = judged_for_real(scores, {"untrained": plain, "trained": stuck})
    assert (found.tone, found.decided_by) == ("worse", "text")
    assert "text that repeats itself" in found.sentence


# --- the page and what is beside it


def test_the_pages_sections_hold_every_judge_and_the_texts(files):
    page = files["report.html"]
    for part in ('id="answers"', 'id="losses"', 'id="thumbs"', "Better, at a price", "Predicted thumbs-up rate"):
        assert part in page
    assert page.count(">decides</span>") == 2
    assert "More than is stated" in page


def test_a_refused_rate_says_why():
    page = report_files(asked_run(Story(predicted=None)))["report.html"]
    assert page.count("None: 31% of the new answers are shorter than any that the calibration saw.") == 2


def test_the_worst_loss_is_told_with_both_answers_and_nothing_in_them_runs(files):
    inputs = asked_run()
    found = worst_losses(inputs, evaluation_facts(inputs))
    # Of 40 prompts the trained answers lose on one alone, by 0.1 - 0.9.
    assert (found.judge, found.lost, found.prompts) == (FIRST, 1, 40)
    assert [loss.prompt_id for loss in found.worst] == [identifier("asked", 7)]
    assert found.worst[0].gap == pytest.approx(-0.8)
    ours, theirs = found.worst[0].sides
    assert (ours.model, ours.score, ours.finish, theirs.score) == ("trained", 0.1, "length", 0.9)
    assert "more characters]" in ours.text
    assert "[U+202E]turned[U+001B]" in ours.text
    page = files["report.html"]
    assert "by <strong>0.800</strong>" in page
    assert SCRIPT not in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_only_texts_that_are_shown_need_to_be_read():
    inputs = asked_run()
    ids = shown_answers(inputs)
    columns = ["generation_id", "prompt_id", "model", "sample", "token_count", "finish"]
    slim = dataclasses.replace(
        inputs,
        tables={**inputs.tables, "generations": inputs.tables["generations"].select(columns)},
        answers=inputs.answers.filter(pl.col("generation_id").is_in(ids["generations"])),
        prompts=inputs.prompts.filter(pl.col("prompt_id").is_in(ids["generation_prompts"])),
    )
    assert (len(ids["generation_prompts"]), slim.answers.height) == (1, 4)
    assert worst_losses(slim, evaluation_facts(slim)) == worst_losses(inputs, evaluation_facts(inputs))


def test_pairwise_losses_are_means_over_both_orders():
    inputs = asked_run()
    ids = {(row["model"], row["sample"]): row["generation_id"] for row in inputs.tables["generations"].to_dicts()[:4]}
    pair = {"judge": FIRST, "prompt_id": identifier("asked", 0), "group_id": "g", "model": "trained"}
    pair |= {"baseline": "untrained", "generation_id": ids["trained", 1], "baseline_generation_id": ids["untrained", 1]}
    pairs = [
        {**pair, "model_first": first, "preference": value, "reason": None}
        for first, value in ((True, 0.5), (False, 0.0))
    ]
    found = worst_losses(
        one := dataclasses.replace(inputs, tables={**inputs.tables, "judged_pairs": pl.DataFrame(pairs)}),
        evaluation_facts(one),
    )
    # (0.5 + 0) / 2 less one half.
    assert [(loss.gap, loss.sides[0].score) for loss in found.worst] == [(-0.25, None)]


def test_control_characters_are_made_visible_and_line_breaks_stay():
    assert visible("a\n\tb\r\x00\u200b") == "a\n\tb[U+000D][U+0000][U+200B]"


def test_rates_are_binned_in_order_and_weighted():
    inputs = asked_run()
    bins = rate_bins(inputs)
    assert [one.answers for one in bins] == [20] * 10
    assert all(one.predicted == pytest.approx(one.observed, abs=0.03) for one in bins)
    weighted = inputs.tables["thumbs_scores"].with_columns(weight=pl.col("label").cast(pl.Float64))
    found = rate_bins(dataclasses.replace(inputs, tables={**inputs.tables, "thumbs_scores": weighted}))
    assert {one.observed for one in found} == {1.0}


def test_metrics_json_holds_the_verdict_and_its_sources(files):
    document = json.loads(files["metrics.json"])
    jsonschema.Draft202012Validator(metrics_schema()).validate(document)
    assert (document["verdict"]["tone"], document["verdict"]["decided_by"]) == ("priced", "answers")
    assert [one["source"] for one in document["verdict"]["statements"]] == [
        "preferences",
        "answers",
        "predicted",
        "price",
    ]
    assert {row["judge"] for row in document["metrics"]} == {None, FIRST, SECOND}


def test_the_summary_and_the_card_say_the_same(files):
    inputs = asked_run(Story(stranger=1.26, longer=0.81))
    found = summary(inputs)
    assert found.tone == "priced"
    assert [(row.metric, row.judge) for row in found.numbers[-3:]] == [
        ("win_rate", FIRST), ("win_rate", SECOND), ("rate_difference", SECOND)
    ]  # fmt: skip
    assert json.loads(files["metrics.json"])["verdict"]["sentence"] == found.sentence
    assert "Predicted thumbs-up rate" in files["model_card.md"]


def test_settings_of_judges_are_on_the_page(files):
    assert "example:criterion" in files["report.html"]
    settings = {
        (one["section"], one["key"]): one["value"] for one in json.loads(files["report.json"])["lineage"]["settings"]
    }
    assert settings["", "judges"].startswith("[{judge: 'example:criterion', name: criterion")


def test_why_a_win_rate_has_no_interval_is_said_once():
    inputs = asked_run()
    agree = "no interval: all prompt groups agree"
    bare = pl.when(pl.col("metric") == "win_rate")
    metrics = inputs.tables["metrics"].with_columns(
        *(bare.then(None).otherwise(name).alias(name) for name in ("ci_low", "ci_high")),
        reason=bare.then(pl.lit(agree)).otherwise("reason"),
    )
    inputs = dataclasses.replace(inputs, tables={**inputs.tables, "metrics": metrics})
    assert f"in 73.0% ({agree})" in verdict(inputs, evaluation_facts(inputs)).sentence
