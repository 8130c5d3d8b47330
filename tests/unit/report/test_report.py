"""The report: what it says, that it says it with the reason where something is absent, and that texts stay texts."""

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from tests import report_inputs as made
from tests.soaking import mostly_soaked
from thumbline.evaluators import Metric
from thumbline.pipeline.config import load_config
from thumbline.pipeline.line.stages import STAGE_NAMES
from thumbline.pipeline.report import (
    TEXTS,
    Missing,
    ReportInputs,
    render_report,
    report_files,
    report_json,
    shown_pairs,
)
from thumbline.pipeline.report import lineage as lineage_module
from thumbline.pipeline.report.evaluation_facts import HEADLINES, RULES, RULES_EVALUATOR, evaluation_facts
from thumbline.pipeline.report.examples import examples, rewards
from thumbline.pipeline.report.facts import collect_facts
from thumbline.pipeline.report.figures.canvas import ACCENT, blank, inline_svg, write
from thumbline.pipeline.report.formatting import (
    MINUS,
    capital,
    count,
    difference,
    excerpt,
    interval,
    measure,
    moment,
    number,
    percent,
    plural,
    seconds,
    shortened,
)
from thumbline.pipeline.report.lineage import lineage
from thumbline.pipeline.report.run_facts import COLUMNS
from thumbline.pipeline.report.training_facts import Curve, ParityFacts, training_facts
from thumbline.pipeline.report.verdict import verdict
from thumbline.pipeline.storage.manifests import Counts
from thumbline.pipeline.tables import polars_schema

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A parsed page: unclosed tags, ids, links and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.labels: list[str | None] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[key] for key in ("href", "src", "xlink:href") if key in named]
        if tag == "svg":
            self.labels.append(named.get("aria-label"))
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def dpo():
    return made.dpo_run()


@pytest.fixture(scope="module")
def kto():
    return made.kto_run()


@pytest.fixture(scope="module")
def finished_rows():
    return made.evaluate_only()


@pytest.fixture(scope="module")
def dpo_page(dpo):
    return render_report(dpo)


def without(inputs, *tables):
    kept = {name: frame for name, frame in inputs.tables.items() if name not in tables}
    return dataclasses.replace(inputs, tables=kept)


def with_tables(inputs, **tables):
    return dataclasses.replace(inputs, tables={**inputs.tables, **tables})


def metric_rows(*rows):
    """Metrics of a hand-made table: (evaluator, metric, model, compared_with, value, low, high)."""
    full = [
        (evaluator, 1, metric, model, other, None, value, low, high, 100, 50, "share", None, None)
        for evaluator, metric, model, other, value, low, high in rows
    ]
    return pl.DataFrame(full, schema=polars_schema("metrics"), orient="row")


# --- the file itself


def test_the_same_inputs_give_the_same_bytes(dpo_page):
    assert render_report(made.dpo_run()) == dpo_page


def test_the_page_is_whole_and_needs_nothing_else(dpo_page):
    page = Page(dpo_page)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import|https?://", re.sub(r"<!DOCTYPE[^>]*>", "", dpo_page))


def test_every_picture_has_an_alternative_text(dpo_page):
    labels = Page(dpo_page).labels
    assert len(labels) >= 12
    assert all(label and len(label) > 20 for label in labels)


def test_texts_of_the_log_stay_texts(dpo_page):
    assert made.SCRIPT not in dpo_page
    assert "&lt;script&gt;document.title" in dpo_page
    assert made.SCRIPT in Page(dpo_page).words


def test_only_the_script_of_the_page_may_run(dpo_page):
    page = Page(dpo_page)
    assert len(page.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in dpo_page
    assert "default-src 'none'" in dpo_page


def test_names_with_markup_do_not_reach_the_pictures(dpo):
    renamed = dpo.tables["scored_pairs"].with_columns(pl.col("model") + "<b>$x$&")
    metrics = dpo.tables["metrics"].with_columns(pl.col("model", "compared_with") + "<b>$x$&")
    page = render_report(with_tables(without(dpo, "scored_unpaired"), scored_pairs=renamed, metrics=metrics))
    assert "<b>" not in page
    assert "trained<b>$x$&" in Page(page).words


def test_numbers_in_a_picture_are_not_rounded_with_its_coordinates():
    axes = blank(100)
    write(axes, 0, 0, "0.56789", color=ACCENT)
    svg = inline_svg(axes, "precise", "a number")
    assert ">0.56789<" in svg
    assert "var(--accent)" in svg
    assert not re.search(r'(?:x|y)="-?\d+\.\d{3,}"', svg)


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_soaked(["dpo_run", "evaluate_only"], ["evaluate_only"]))
def test_a_report_without_any_one_table_or_without_its_rows_still_renders(name):
    inputs = getattr(made, name)()
    for table, frame in inputs.tables.items():
        assert Page(render_report(without(inputs, table))).open == []
        assert Page(render_report(with_tables(inputs, **{table: frame.clear()}))).open == []


def test_a_report_without_any_one_stage_still_renders(dpo):
    for stage in dpo.manifests:
        kept = {key: value for key, value in dpo.manifests.items() if key != stage}
        assert collect_facts(dataclasses.replace(dpo, manifests=kept)).lineage.stages
    assert Page(render_report(dataclasses.replace(dpo, manifests={}))).open == []


def test_nothing_at_all_is_said_with_reasons():
    bare = ReportInputs(title="Empty", run_name="none", command="", generated_at="")
    words = Page(render_report(bare)).words
    assert "No verdict" in words
    assert "the run has not reached the metrics stage" in words
    assert "No stage that prepares data belongs to this report" in words
    assert "No model was trained here" in words
    assert "No stage of the line ran" in words


# --- the verdict


def judged(dpo, *rows):
    inputs = with_tables(dpo, metrics=metric_rows(*rows))
    return verdict(inputs, evaluation_facts(inputs))


def accuracies(trained, difference_ends):
    return (
        ("pair_accuracy", "accuracy", "untrained", None, 0.5, 0.5, 0.5),
        ("pair_accuracy", "accuracy", "trained", None, *trained),
        ("comparison", "accuracy_difference", "trained", "untrained", trained[0] - 0.5, *difference_ends),
    )


def test_better_is_said_with_both_intervals(dpo):
    found = judged(dpo, *accuracies((0.71, 0.62, 0.79), (0.12, 0.29)))
    assert found.tone == "better"
    assert found.sentence.startswith(
        "The trained model beats the untrained model: it ranks 71.0% of held-out pairs right (95% interval 62.0% to "
        "79.0%) against 50.0%, a difference of +12.0 to +29.0 percentage points. Chance is 50%, which the untrained "
        "model has by construction: as the reference it ties on every pair."
    )
    assert "100 held-out pairs in 50 prompt groups" in found.basis


def test_no_improvement_is_said_plainly(dpo):
    found = judged(dpo, *accuracies((0.53, 0.44, 0.62), (-0.06, 0.12)))
    assert (found.tone, found.word) == ("same", "Not distinguishable")
    assert "shows no improvement over the untrained model" in found.sentence
    assert f"a difference of {MINUS}6.0 to +12.0 percentage points" in found.sentence


def test_worse_is_said_plainly(dpo):
    found = judged(dpo, *accuracies((0.31, 0.22, 0.41), (-0.28, -0.09)))
    assert found.tone == "worse"
    assert "is worse than the untrained model" in found.sentence


def test_without_a_comparison_only_intervals_that_do_not_touch_differ(dpo):
    base = ("pair_accuracy", "accuracy", "untrained", None, 0.5, 0.42, 0.58)
    apart = ("pair_accuracy", "accuracy", "trained", None, 0.7, 0.62, 0.78)
    touching = ("pair_accuracy", "accuracy", "trained", None, 0.6, 0.55, 0.68)
    assert judged(dpo, base, apart).tone == "better"
    assert judged(dpo, base, touching).tone == "same"


def flags_of(rows, accuracy, reward="implicit"):
    scored = pl.DataFrame(rows, schema=polars_schema("scored_pairs"), orient="row")
    metrics = metric_rows(("pair_accuracy", "accuracy", "trained", None, accuracy, accuracy - 0.1, accuracy + 0.1))
    inputs = ReportInputs(
        "t", "r", "", "", tables={"scored_pairs": scored, "metrics": metrics}, beta=0.1, reward=reward
    )
    return {flag.title: flag.text for flag in verdict(inputs, evaluation_facts(inputs)).flags}


def test_both_rewards_falling_is_flagged_by_hand():
    # Rewards 0.1 (-52 + 50) = -0.2 and 0.1 (-70 + 60) = -1: accuracy 1, and both are below the reference.
    flags = flags_of([scored_row("a", -52.0, -70.0)], 0.9)
    assert f"chosen moved by {MINUS}0.200, that of rejected by {MINUS}1.000" in flags["Both rewards fell"]
    assert "Both rewards fell" not in flags_of([scored_row("a", -48.0, -70.0)], 0.9)


def test_without_a_reference_a_fall_is_measured_against_the_baseline():
    after, before = scored_row("a", -52.0, -70.0), scored_row("a", -51.0, -60.0, model="untrained")
    flags = flags_of([after, before], 0.9, reward="sum_logps")
    assert f"chosen moved by {MINUS}0.100, that of rejected by {MINUS}1.000" in flags["Both rewards fell"]
    assert "Both rewards fell" not in flags_of([after], 0.9, reward="sum_logps")


def test_a_length_rule_that_does_as_well_is_flagged():
    # Chosen has 10 tokens and rejected 20 in every pair: the shorter one always wins.
    assert "preferring the shorter answer is right in 100.0%" in str(flags_of([scored_row("a", -48.0, -70.0)], 0.9))
    longer = (*scored_row("b", -48.0, -70.0)[:7], 30, 20, 0.75)
    mixed = [scored_row("a", -48.0, -70.0), longer]
    assert "Length alone does as well" not in flags_of(mixed, 0.9)


def test_a_single_model_is_held_against_chance(dpo):
    scored = dpo.tables["scored_pairs"].filter(pl.col("model") == "trained").with_columns(model=pl.lit("acme/7b"))
    rows = metric_rows(("pair_accuracy", "accuracy", "acme/7b", None, 0.66, 0.58, 0.73))
    inputs = with_tables(without(dpo, "scored_unpaired"), scored_pairs=scored, metrics=rows)
    found = verdict(inputs, evaluation_facts(inputs))
    assert found.tone == "better"
    assert found.sentence.startswith(
        "acme/7b ranks 66.0% of held-out pairs right (95% interval 58.0% to 73.0%), above the 50% of chance. Chance"
    )


def test_no_interval_gives_no_verdict(dpo):
    assert judged(dpo, *accuracies((0.71, None, None), (None, None))).tone == "unknown"


def test_the_three_reports_say_what_their_rows_say(dpo, kto, finished_rows):
    assert collect_facts(dpo).verdict.tone == "better"
    nothing = collect_facts(made.dpo_run(gain=0, drop=0)).verdict
    assert (nothing.tone, "no improvement" in nothing.sentence) == ("same", True)
    few = collect_facts(kto).verdict
    assert (few.tone, few.measure) == ("same", "auc")
    assert "held-out AUC" in few.sentence
    given = collect_facts(finished_rows).evaluation
    assert (given.subject, given.baseline) == ("acme/helper-7b-dpo", "acme/helper-7b")
    assert given.models[0] == "acme/helper-7b"


def test_the_evaluators_compute_what_the_report_looks_for(dpo):
    facts = evaluation_facts(dpo)
    for model in ("trained", "untrained"):
        assert all(facts.headline(headline, model) is not None for headline in HEADLINES)
        assert all(facts.find(RULES_EVALUATOR, metric, model) is not None for metric in RULES)
    found = verdict(dpo, facts)
    assert "percentage points" in found.sentence
    assert "prompt groups better" in found.basis
    assert "exact test by prompt group: p " in found.basis
    assert "at power 0.8" in found.basis


@pytest.mark.parametrize(("p_value", "tone"), [(0.2, "same"), (0.01, "better")])
def test_the_interval_and_the_test_by_group_must_agree(dpo, p_value, tone):
    rows = accuracies((0.71, 0.62, 0.79), (0.12, 0.29))
    assert judged(dpo, *rows, ("comparison", "sign_flip_p", "trained", "untrained", p_value, None, None)).tone == tone


# --- what is absent


def test_a_number_that_does_not_exist_is_a_dash_with_its_reason(kto):
    facts = collect_facts(kto)
    accuracy = next(row for row in facts.evaluation.rows() if row.metric == "accuracy" and row.model == "trained")
    assert accuracy.value is None
    assert accuracy.reason
    page = render_report(kto)
    assert accuracy.reason in Page(page).words
    assert isinstance(facts.examples, Missing)
    assert facts.examples.missing in Page(page).words
    # Its unpaired rows are compared all the same.
    assert "auc difference" in Page(page).words.lower()


def test_finished_rows_have_no_data_no_training_and_no_texts(finished_rows):
    words = Page(render_report(finished_rows)).words
    assert "it was given finished rows" in words
    assert "No model was trained here" in words
    assert "The texts were not given" in words
    assert "No run file belongs to this report" in words


def test_rewards_without_a_reference_are_not_shown_as_numbers(finished_rows):
    scored = finished_rows.tables["scored_pairs"].with_columns(reference_chosen_logps=pl.lit(None, dtype=pl.Float64))
    inputs = with_tables(finished_rows, scored_pairs=scored)
    found = rewards(inputs, "pairs")
    assert isinstance(found, Missing)
    assert found.missing in Page(render_report(inputs)).words
    unscaled = rewards(dataclasses.replace(finished_rows, beta=None), "pairs")
    assert isinstance(unscaled, Missing)
    assert "beta" in unscaled.missing


# --- data


def test_the_funnel_adds_up_and_names_its_reasons(dpo):
    steps = collect_facts(dpo).data.steps
    assert [step.stage for step in steps] == ["events", "responses", "unpaired", "pairs", "sequences", "metrics"]
    for step in steps:
        assert step.rows_in == step.rows_out + step.merged + step.set_aside
    events, _, labelled, pairs, *_ = steps
    assert [tuple(reason) for reason in events.reasons] == [("not_json", 2), ("no_completion", 1)]
    assert [tuple(reason) for reason in labelled.reasons] == [("unrated", 30), ("tied", 8), ("retracted", 3)]
    assert [tuple(reason) for reason in pairs.reasons] == [
        ("one_response", 18),
        ("one_label_only", 9),
        ("below_margin", 3),
    ]


def test_responses_that_were_screened_out_are_told_by_reason(dpo):
    stage = dpo.manifests["responses"]
    noted = stage.model_copy(update={"notes": {**stage.notes, "dropped": {"language": 2, "secret": 7}}})
    inputs = dataclasses.replace(dpo, manifests={**dpo.manifests, "responses": noted})
    details = [
        next(step for step in collect_facts(each).data.steps if step.stage == "responses") for each in (dpo, inputs)
    ]
    assert "screened" not in details[0].detail
    assert details[1].detail.endswith("; responses screened out: 7 for secret, 2 for language")


def test_reasons_of_abstaining_come_from_the_responses_where_they_are_given(dpo):
    reasons = pl.Series("abstain_reason", ["tied", "tied", "unrated", None], dtype=pl.String)
    inputs = with_tables(dpo, responses=reasons.to_frame())
    labelled = next(step for step in collect_facts(inputs).data.steps if step.stage == "unpaired")
    assert [tuple(reason) for reason in labelled.reasons] == [("tied", 2), ("unrated", 1)]


def test_rejected_rows_show_their_place_but_not_their_text(dpo, dpo_page):
    first = collect_facts(dpo).data.rejects[0]
    assert (first.reason, first.rows) == ("not_json", 2)
    assert first.first == "2026-03.jsonl:17, 2026-03.jsonl:904"
    for raw in dpo.tables["rejects"]["raw"]:
        assert raw == "{}" or raw not in dpo_page


def test_splits_count_prompts_rows_and_pairs(dpo):
    sizes = {row.split: row for row in collect_facts(dpo).data.splits}
    assert sum(row.prompts for row in sizes.values()) == 200
    assert sum(row.unpaired for row in sizes.values()) == 400
    assert sum(row.pairs for row in sizes.values()) == 170
    assert sizes["test"].pairs == dpo.tables["scored_pairs"].height // 2


def test_pair_yield_keeps_its_advice_and_leaves_out_what_did_not_happen(dpo, dpo_page):
    rows = collect_facts(dpo).data.pair_yield
    assert [row.outcome for row in rows] == ["paired", "one_response", "one_label_only", "below_margin"]
    assert rows[0].share == pytest.approx(0.85)
    assert "one answer cannot make a pair" in dpo_page


# --- training


def parity_of(dpo, *rows):
    names = ["sequence_id", "token_count", "stored_logps", "row_logps", "batched_logps"]
    full = [(made.identifier(place), 10, *row) for place, row in enumerate(rows)]
    found = training_facts(with_tables(dpo, parity=pl.DataFrame(full, schema=names, orient="row"))).parity
    assert isinstance(found, ParityFacts)
    return found


def test_parity_is_the_mean_difference_against_floor_and_noise(dpo):
    # stored - alone: 0.1 and -0.3, mean 0.2; batched - alone: 0.02 and 0.02; bound max(0.1 sqrt(10), 4 * 0.02).
    found = parity_of(dpo, (-9.9, -10.0, -9.98), (-20.3, -20.0, -19.98))
    assert found.mean_difference == pytest.approx(0.2)
    assert found.largest_difference == pytest.approx(0.3)
    assert found.noise == pytest.approx(0.02)
    assert found.bound == pytest.approx(0.1 * 10**0.5)
    assert found.passed is True


def test_parity_fails_above_the_bound_and_noise_widens_it(dpo):
    assert parity_of(dpo, (-9.0, -10.0, -10.0)).passed is False
    wide = parity_of(dpo, (-9.0, -10.0, -9.7))
    assert wide.bound == pytest.approx(1.2)
    assert wide.passed is True


def test_long_curves_are_thinned_by_means_and_keep_their_ends(dpo):
    rows = [(step, "train", "loss", float(step)) for step in range(1, 1001)]
    log = pl.DataFrame(rows, schema=polars_schema("training_log"), orient="row")
    (curve,) = training_facts(with_tables(dpo, training_log=log)).curves
    assert isinstance(curve, Curve)
    assert (curve.points, curve.first, curve.last, curve.lowest, curve.highest) == (1000, 1.0, 1000.0, 1.0, 1000.0)
    assert len(curve.values) == 250
    assert (curve.steps[0], curve.values[0]) == (2.5, 2.5)


def test_every_logged_metric_has_a_curve_in_a_known_order(dpo):
    curves = training_facts(dpo).curves
    order = list(dict.fromkeys(curve.metric for curve in curves))
    assert order[:3] == ["loss", "accuracy", "reward_margin"]
    assert set(order) == set(dpo.tables["training_log"]["metric"])


# --- examples


def scored_row(name, chosen, rejected, model="trained"):
    """policy log-probs; the reference has -50 and -60; 10 and 20 tokens."""
    return (made.identifier(name), made.identifier("g"), model, chosen, rejected, -50.0, -60.0, 10, 20, 0.75)


def test_examples_are_the_worst_margins_by_hand():
    # beta 0.1: margins 0.1 ((-45 + 50) - (-60 + 60)) = 0.5, 0.1 (-10 - 5) = -1.5, 0.1 (0 - 3) = -0.3, and a tie.
    rows = [scored_row("a", -45.0, -60.0), scored_row("b", -60.0, -55.0), scored_row("c", -50.0, -57.0)]
    rows.append(scored_row("tie", -50.0, -60.0))
    scored = pl.DataFrame(rows, schema=polars_schema("scored_pairs"), orient="row")
    inputs = ReportInputs("t", "r", "", "", tables={"scored_pairs": scored}, beta=0.1)
    found = examples(inputs, "trained")
    assert [example.margin for example in found.worst] == pytest.approx([-1.5, -0.3])
    assert [example.margin for example in found.best] == pytest.approx([0.5])
    assert (found.wrong, found.pairs, found.has_text) == (2, 4, False)
    few = examples(dataclasses.replace(inputs, worst_examples=1), "trained")
    assert [example.pair_id for example in few.worst] == [made.identifier("b")]


def test_a_report_of_the_columns_and_texts_that_it_reads_is_that_of_whole_tables(dpo):
    narrow = {name: frame.select(COLUMNS.get(name, frame.columns)) for name, frame in dpo.tables.items()}
    inputs = dataclasses.replace(dpo, tables=narrow)
    shown = shown_pairs(inputs)
    assert len(shown) > 3
    texts = dpo.tables["pairs"].filter(pl.col("pair_id").is_in(shown)).select(TEXTS)
    assert report_files(dataclasses.replace(inputs, texts=texts)) == report_files(dpo)
    assert report_files(inputs) != report_files(dpo)


def test_no_pair_is_shown_where_none_was_scored():
    assert shown_pairs(ReportInputs("t", "r", "", "")) == []


@pytest.mark.parametrize(("kind", "margin"), [("implicit", 0.5), ("sum_logps", 1.5), ("mean_logps", -0.15)])
def test_the_reward_is_the_one_that_the_method_trains(kind, margin):
    # chosen -45 over 10 tokens, rejected -60 over 20: sums 0.1 (-45 + 60), means 0.1 (-4.5 + 3).
    scored = pl.DataFrame([scored_row("a", -45.0, -60.0)], schema=polars_schema("scored_pairs"), orient="row")
    inputs = ReportInputs("t", "r", "", "", tables={"scored_pairs": scored}, beta=0.1, reward=kind)
    assert rewards(inputs, "pairs")["margin"].item() == pytest.approx(margin)


def test_a_long_text_is_cut_and_says_by_how_much(dpo):
    long = [{"role": "assistant", "content": "x" * 5_000}]
    pairs = dpo.tables["pairs"].with_columns(chosen=pl.Series([long] * dpo.tables["pairs"].height))
    page = render_report(with_tables(dpo, pairs=pairs))
    assert "x" * 1_601 not in page
    assert "[3,400 more characters]" in page


# --- lineage


def test_every_setting_and_every_digest_is_shown(dpo, dpo_page):
    words = Page(dpo_page).words
    settings = lineage(dpo).settings
    by_name = {(setting.section, setting.key): setting for setting in settings}
    for section, values in dpo.config.model_dump().items():
        keys = [(section, key) for key in values] if isinstance(values, dict) else [("", section)]
        assert set(keys) - {("train", "lora"), ("train", "rollouts")} <= set(by_name)
    for part in ("lora", "rollouts"):
        assert {(f"train.{part}", key) for key in getattr(dpo.config.train, part).model_dump()} <= set(by_name)
    assert by_name[("train", "learning_rate")].changed
    assert not by_name[("train", "epochs")].changed
    assert by_name[("train", "loss")].value == "{beta: 0.1}"
    for manifest in dpo.manifests.values():
        for digest in [*manifest.inputs.values(), *(record.sha256 for record in manifest.outputs.values())]:
            assert digest in words
        assert manifest.fingerprint in dpo_page
    for name, version in dpo.versions.items():
        assert f"{name} {version}" in words
    assert dpo.command in words


def test_the_report_knows_the_stages_in_the_lines_own_order():
    assert lineage_module._LINE == STAGE_NAMES


def test_a_secret_setting_is_not_passed_on(dpo):
    events = dpo.config.events.model_copy(update={"user_key": "hunter2", "options": {"token": "hf_abc", "split": "x"}})
    command = "thumbline run a.yaml --set events.user_key=hunter2 --set train.method=dpo"
    inputs = dataclasses.replace(dpo, config=dpo.config.model_copy(update={"events": events}), command=command)
    page, document = render_report(inputs), json.dumps(report_json(inputs))
    for text in (page, document):
        assert "hunter2" not in text
        assert "hf_abc" not in text
        assert "train.method=dpo" in text
    assert "(kept secret)" in page
    assert "fill it in before you run it" in page


def test_the_run_file_on_the_page_is_the_run(dpo, tmp_path):
    path = tmp_path / "again.yaml"
    path.write_text(lineage(dpo).yaml, encoding="utf-8")
    again = load_config(path)
    # Folders are read from where the run file lies.
    elsewhere = {"events": True, "runs": True, "reference": {"store"}}
    assert again.model_dump(exclude=elsewhere) == dpo.config.model_dump(exclude=elsewhere)
    assert again.events.user_key == dpo.config.events.user_key
    assert "kept secret" not in render_report(dpo)


def test_stages_stand_in_the_order_of_the_line(dpo):
    by_name = dict(sorted(dpo.manifests.items()))
    stages = [row.stage for row in lineage(dataclasses.replace(dpo, manifests=by_name)).stages]
    assert stages == list(dpo.manifests)
    assert stages[:3] == ["events", "responses", "unpaired"]


def test_a_stage_that_lost_rows_is_marked(dpo):
    lost = dpo.manifests["events"].model_copy(update={"counts": Counts(rows_in=10, rows_out=8, rejected=1)})
    rows = lineage(dataclasses.replace(dpo, manifests={"events": lost})).stages
    assert [row.adds_up for row in rows] == [False]


def test_the_json_holds_the_same_facts(dpo, kto, finished_rows):
    for inputs in (dpo, kto, finished_rows):
        document = json.loads(json.dumps(report_json(inputs), allow_nan=False))
        assert document["schema_version"] == 1
        assert document["verdict"]["sentence"] == collect_facts(inputs).verdict.sentence
    rows = [dict(zip(Metric._fields, row, strict=True)) for row in dpo.tables["metrics"].iter_rows()]
    assert report_json(dpo)["evaluation"]["measures"] == rows
    assert report_json(finished_rows)["data"]["steps"] == {"missing": collect_facts(finished_rows).data.steps.missing}


def test_a_value_that_is_not_finite_is_text_in_the_json(dpo):
    log = pl.DataFrame([(1, "train", "loss", math.inf)], schema=polars_schema("training_log"), orient="row")
    inputs = with_tables(dpo, training_log=log)
    assert report_json(inputs)["training"]["curves"][0]["first"] == "inf"
    assert Page(render_report(inputs)).open == []


# --- numbers as people read them


def test_formatting_by_hand():
    assert count(1375) == "1,375"
    assert count(None) == "—"
    assert number(-0.12345) == f"{MINUS}0.123"
    assert number(0.00001234) == f"1.23e{MINUS}05"
    assert number(None) == "—"
    assert percent(0.7123) == "71.2%"
    assert measure(0.7123, "share") == "71.2%"
    assert measure(0.7123, "reward") == "0.712"
    assert [measure(1.0, "flag"), measure(0.0, "flag"), measure(12.0, "pairs")] == ["yes", "no", "12"]
    assert interval(0.1, 0.2, "share") == "10.0% to 20.0%"
    assert interval(None, 0.2) == "—"
    assert difference(-0.05, 0.1, "share") == f"{MINUS}5.0 to +10.0 percentage points"
    assert difference(-0.05, 0.1, "share", "pp") == f"{MINUS}5.0 to +10.0 pp"
    assert difference(-0.05, 0.1, "reward") == f"{MINUS}0.050 to +0.100"
    assert plural(1, "pair") == "1 pair"
    assert plural(1200, "pair") == "1,200 pairs"
    assert [seconds(value) for value in (0.42, 12.3, 185, 7620)] == ["0.4 s", "12 s", "3 min 05 s", "2 h 07 min"]
    assert shortened("acme/helper-7b-dpo", 9) == "acme…-dpo"
    assert shortened("short", 9) == "short"
    assert excerpt("abcdef", 3) == "abc … [3 more characters]"
    assert (capital("the trained model"), capital("acme/x")) == ("The trained model", "acme/x")
    assert moment("2026-03-14T09:26:53+00:00") == "2026-03-14 09:26:53 UTC"
    assert moment("yesterday") == "yesterday"
