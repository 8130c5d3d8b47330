"""Sections on calibration, length and slices: found by the metrics' names, drawn, and left out where there are none."""

import dataclasses

import polars as pl
import pytest

from tests import report_inputs as made
from thumbline.evaluators import Metric
from thumbline.pipeline.config import build_config
from thumbline.pipeline.report import render_report, report_json
from thumbline.pipeline.report.evaluation_facts import evaluation_facts
from thumbline.pipeline.report.evaluation_parts import (
    changes,
    checkpoint_curves,
    is_gap,
    is_small,
    other_slices,
    reliability,
    rest,
    slice_tables,
    strata,
)
from thumbline.pipeline.report.facts import collect_facts
from thumbline.pipeline.report.formatting import MINUS, change, sentence, words
from thumbline.pipeline.report.pictures import draw
from thumbline.pipeline.report.training_facts import training_facts
from thumbline.pipeline.tables import polars_schema

SMALL = "small slice: fewer than 30 prompt groups"


def row(evaluator, metric, value, *, part=None, model="trained", other=None, low=None, high=None, n=20, reason=None):
    unit = "reward" if evaluator == "reward_margin" else "share"
    return (evaluator, 1, metric, model, other, part, value, low, high, n, n // 2, unit, reason)


@pytest.fixture(scope="module")
def run():
    return made.dpo_run()


def with_rows(inputs, *rows):
    schema = polars_schema("metrics")
    columns = [name for name in schema if name != "standard_error"]
    added = pl.DataFrame(rows, schema={name: schema[name] for name in columns}, orient="row")
    frame = pl.concat([inputs.tables["metrics"], added], how="diagonal")
    return dataclasses.replace(inputs, tables={**inputs.tables, "metrics": frame})


def curve(model, *bins):
    """Rows of a reliability curve: (name, confidence, accuracy, pairs) of each bin."""
    return [
        row("calibration", metric, value, part=f"confidence={name}", model=model, n=pairs, low=low, high=high)
        for name, confidence, accuracy, pairs in bins
        for metric, value, low, high in (
            ("reliability_accuracy", accuracy, accuracy - 0.1, accuracy + 0.1),
            ("reliability_confidence", confidence, None, None),
        )
    ]


def without_parts(inputs):
    """The run without what newer evaluators may already say of bins, strata and slices."""
    frame = inputs.tables["metrics"].filter(pl.col("slice").is_null())
    return dataclasses.replace(inputs, tables={**inputs.tables, "metrics": frame})


def test_the_reliability_curve_runs_from_the_least_to_the_most_confident_bin(run):
    bins = [("0.9 to 0.95", 0.92, 0.8, 5), ("0.5 to 0.55", 0.53, 0.5, 10)]
    inputs = with_rows(without_parts(run), *curve("trained", *bins), *curve("untrained", ("0.5 to 0.55", 0.5, 0.5, 52)))
    facts = evaluation_facts(inputs)
    assert [one.name for one in reliability(facts, "trained")] == ["0.5 to 0.55", "0.9 to 0.95"]
    picture = draw(inputs, collect_facts(inputs)).reliability
    assert "50.0% right at confidence 53.0%, 10 pairs; 80.0% right at confidence 92.0%, 5 pairs" in picture.svg
    # The untrained model ties everywhere: one bin is no curve.
    assert "the untrained model: " not in picture.svg
    page = render_report(inputs)
    assert "The reliability curve of the trained model: 2 bins" in page


def test_a_baseline_with_a_curve_of_its_own_is_drawn_beside(run):
    bins = [("0.5 to 0.55", 0.53, 0.5, 10), ("0.6 to 0.65", 0.62, 0.7, 8)]
    inputs = with_rows(without_parts(run), *curve("trained", *bins), *curve("untrained", *bins))
    assert "the untrained model: 50.0% right" in draw(inputs, collect_facts(inputs)).reliability.svg


def test_a_bin_without_a_value_is_left_out(run):
    rows = curve("trained", ("0.5 to 0.55", 0.53, 0.5, 10), ("0.6 to 0.65", 0.62, 0.7, 8))
    spoilt = [entry if "0.6" not in entry[5] else (*entry[:6], None, *entry[7:]) for entry in rows]
    facts = evaluation_facts(with_rows(without_parts(run), *spoilt))
    assert [one.name for one in reliability(facts, "trained")] == ["0.5 to 0.55"]


def test_strata_of_length_stand_in_the_order_of_their_ratio(run):
    names = ["over 2", "0.91 to 1.1", "under 0.5", "0.5 to 0.91", "1.1 to 2"]
    rows = [row("length_bias", "accuracy_in_stratum", 0.5, part=f"chosen_to_rejected_tokens={name}") for name in names]
    inputs = with_rows(without_parts(run), *rows)
    found = [one.slice.partition("=")[2] for one in strata(evaluation_facts(inputs), "trained")]
    assert found == ["under 0.5", "0.5 to 0.91", "0.91 to 1.1", "1.1 to 2", "over 2"]
    assert any(
        "chosen to rejected tokens" in picture.caption for picture in draw(inputs, collect_facts(inputs)).lengths
    )


def test_slices_have_a_table_a_headline_and_small_ones_are_marked(run):
    rows = [
        row("pair_accuracy", "accuracy", 0.75, part="subset=chat", low=0.6, high=0.9, n=80),
        row("pair_accuracy", "accuracy", 0.25, part="subset=math", low=0.1, high=0.6, n=8, reason=SMALL),
        row("pair_accuracy", "accuracy", 0.5, part="subset=chat", model="untrained", n=80),
        row("pair_accuracy", "n_ties", 3.0, part="subset=chat", n=80),
        row("pair_accuracy", "accuracy", 0.7, part="only=one", n=80),
        row("reward_margin", "mean", 0.4, part="subset=chat", n=80),
        *curve("trained", ("0.5 to 0.55", 0.53, 0.5, 10)),
    ]
    inputs = with_rows(without_parts(run), *rows)
    facts = evaluation_facts(inputs)
    accuracy, margin = slice_tables(facts)
    assert [(one.slice, one.model) for one in accuracy.rows] == [
        ("subset=chat", "untrained"),
        ("subset=chat", "trained"),
        ("subset=math", "trained"),
    ]
    assert [is_small(one) for one in accuracy.rows] == [False, False, True]
    assert [one.value for one in margin.rows] == [0.4]
    assert [one.metric for one in other_slices(facts)] == ["n_ties"]
    page = render_report(inputs)
    assert page.count('<span class="chip">small</span>') == 1
    assert "The same in all rows, so nothing to hold apart: only is one." in page
    # One picture a column, of the first headline number; the others are in tables.
    captions = [picture.caption for picture in draw(inputs, collect_facts(inputs)).slices]
    assert captions == ["Preference accuracy by subset. A small slice has a hollow dot."]


def test_of_very_many_slices_the_picture_shows_the_largest(run):
    rows = [row("pair_accuracy", "accuracy", 0.5, part=f"topic=t{place:02d}", n=2 + 2 * place) for place in range(30)]
    inputs = with_rows(without_parts(run), *rows)
    (picture,) = draw(inputs, collect_facts(inputs)).slices
    assert "The 6 smallest are in the table only." in picture.caption
    assert "t05" not in picture.svg and "t06" in picture.svg and "t29" in picture.svg
    assert "topic=t05" in render_report(inputs)


def test_without_these_metrics_the_page_says_so_and_draws_nothing(run):
    inputs = without_parts(run)
    pictures = draw(inputs, collect_facts(inputs))
    assert pictures.reliability is None and pictures.slices == ()
    assert "<code>thumbline evaluate --slice COLUMN</code> evaluates its values apart" in render_report(inputs)


def test_before_and_after_hold_the_difference_that_was_tested(run):
    found = {change.title: change for change in changes(evaluation_facts(run))}
    accuracy = found["Preference accuracy"]
    assert (accuracy.before.model, accuracy.after.model) == ("untrained", "trained")
    assert accuracy.gap.value == pytest.approx(accuracy.after.value - accuracy.before.value)
    assert found["Reward margin"].gap.metric == "margin_difference"
    page = render_report(run)
    assert "Before against after" in page and " pp</td>" in page


def test_no_number_is_shown_in_two_tables(run):
    facts = evaluation_facts(run)
    assert {"calibration", "length_bias"}.isdisjoint(name for name, _ in rest(facts))


def test_a_difference_of_shares_is_in_percentage_points():
    assert change(0.025, "share") == "+2.5 pp"
    assert change(-0.025, "share") == f"{MINUS}2.5 pp"
    assert change(1.5, "reward") == "+1.500"
    assert change(None, "share") == "—"
    named = ("score_difference", "auc_over_length", "rate", "score_difference_p")
    rows = [Metric("e", 1, name, "trained", None, None, 0.1, None, None, 20, 20, "share", None) for name in named]
    assert [is_gap(row) for row in rows] == [True, True, False, False]
    assert sentence(words("ece_if_calibrated")) == "ECE if calibrated"


def logs(inputs, **names):
    return dataclasses.replace(
        inputs, training_logs={name: inputs.tables["training_log"].head(rows) for name, rows in names.items()}
    )


def test_curves_of_several_runs_stand_side_by_side_on_validation_rows(run):
    inputs = logs(run, first=400, second=200)
    curves = training_facts(inputs).curves
    loss = [curve for curve in curves if curve.metric == "loss"]
    assert [(curve.run, curve.phase) for curve in loss] == [("first", "validation"), ("second", "validation")]
    rate = [curve for curve in curves if curve.metric == "learning_rate"]
    assert {curve.phase for curve in rate} == {"train"}
    pictures = draw(inputs, collect_facts(inputs)).curves
    assert len(pictures) == len({curve.metric for curve in curves})
    assert "first, validation: from" in pictures[0].svg and "second, validation: from" in pictures[0].svg
    assert "What several runs logged, side by side." in render_report(inputs)


def test_the_report_is_about_the_model_that_was_asked_for(run):
    names = ("a", "b", "c")
    frame = pl.concat(
        [
            run.tables["metrics"]
            .filter(pl.col("model") == "trained")
            .with_columns(
                model=pl.lit(name), compared_with=pl.when(pl.col("compared_with").is_not_null()).then(pl.lit("a"))
            )
            for name in names
        ]
    ).filter((pl.col("model") != "a") | pl.col("compared_with").is_null())
    inputs = dataclasses.replace(run, tables={"metrics": frame}, config=None)
    assert evaluation_facts(inputs).subject == "b"
    asked = evaluation_facts(dataclasses.replace(inputs, subject="c", baseline="a"))
    assert (asked.subject, asked.baseline) == ("c", "a")
    alone = evaluation_facts(dataclasses.replace(inputs, subject="a"))
    assert (alone.subject, alone.baseline) == ("a", None)


def test_build_config_is_what_a_card_names_its_data_by(run):
    config = build_config({"name": "n", "model": "demo", "events": {"inputs": ["hub:acme/thumbs"]}}, origin="test")
    from thumbline.pipeline.report.model_card import model_card

    text = model_card(dataclasses.replace(run, config=config), collect_facts(run))
    assert "type: acme/thumbs" in text and "split: test" in text


def order(page):
    return [page.index(f'<section id="{name}">') for name in ("data", "training", "evaluation", "examples", "lineage")]


def test_a_run_is_told_along_its_line_and_finished_rows_begin_with_their_results(run):
    data, training, evaluation, examples, lineage = order(render_report(run))
    assert data < training < evaluation < examples < lineage
    page = render_report(made.evaluate_only())
    data, training, evaluation, examples, lineage = order(page)
    assert evaluation < examples < training < data < lineage
    assert page.index('href="#evaluation"') < page.index('href="#training"') < page.index('href="#data"')


def checkpoints(run, names):
    """Metrics of models of these names, each the trained model's."""
    own = run.tables["metrics"].filter((pl.col("model") == "trained") & pl.col("compared_with").is_null())
    frame = pl.concat([own.with_columns(model=pl.lit(name)) for name in names])
    return dataclasses.replace(run, tables={"metrics": frame}, config=None)


def test_checkpoints_are_a_curve_in_the_order_of_their_steps(run):
    inputs = checkpoints(run, ["checkpoint-1000", "checkpoint-20", "checkpoint-300", "acme/other"])
    curves = checkpoint_curves(evaluation_facts(inputs))
    assert {curve.headline.name for curve in curves} == {"accuracy", "margin", "auc", "separation"}
    assert [step for step, _ in curves[0].points] == [20, 300, 1000]
    picture = draw(inputs, collect_facts(inputs)).headlines[0]
    assert picture.caption.startswith("Preference accuracy over checkpoints.")
    assert picture.svg.index("step 20:") < picture.svg.index("step 300:") < picture.svg.index("step 1,000:")


@pytest.mark.parametrize(
    "names", [["checkpoint-10", "checkpoint-20"], ["a-1", "a-2", "a-3"], ["x/step1", "y/step2", "z/step3"]]
)
def test_two_checkpoints_or_other_names_are_no_curve(run, names):
    assert checkpoint_curves(evaluation_facts(checkpoints(run, names))) == ()


def with_train_notes(inputs, **notes):
    made = inputs.manifests["train"]
    changed = made.model_copy(update={"notes": made.notes | notes})
    return dataclasses.replace(inputs, manifests={**inputs.manifests, "train": changed})


def test_why_training_ended_and_which_step_was_taken_are_on_the_page(run):
    ended = "step 60 of 90: 3 validation points in a row did not improve the loss of 0.41"
    inputs = with_train_notes(run, ended=ended, weights_of="step 30, the best", weights_of_step=30)
    page = render_report(inputs)
    for said in (ended, "step 30, the best", "The upright line is the step whose weights were taken, 30."):
        assert said in page
    assert "weights of step" not in page
    assert report_json(inputs)["training"]["taken_step"] == 30


def test_no_line_is_drawn_where_the_last_step_was_taken(run):
    inputs = with_train_notes(run, weights_of_step=60)
    assert "The upright line" not in render_report(inputs)
    assert report_json(inputs)["training"]["taken_step"] is None
