"""Tables of judged pairs as others publish them, the page on them, and what is refused."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest

import thumbline
from thumbline.pipeline.config import ReferenceConfig, SequencesConfig
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.evaluation import Gate, ReadOptions, Request, ScoringOptions, is_judged_request
from thumbline.pipeline.evaluation.judged import (
    check_judged_gate,
    check_judged_request,
    evaluate_pairs,
    write_judged,
)
from thumbline.pipeline.evaluation.judged_layouts import JUDGED_LAYOUTS
from thumbline.pipeline.evaluation.judged_rows import is_judged, of_frame, read_judged
from thumbline.pipeline.evaluation.outcome import Choices
from thumbline.pipeline.report import metrics_schema

_SAID = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
_PARTS = [
    {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "So."}]},
]

# By layout: records, and what is read of them: model a, model b, preference, a first, the lengths.
CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[Any, ...]]]] = {
    "alpaca_eval": (
        [
            {"instruction": "Why?", "output_1": "No", "generator_1": "base", "output_2": "Because",
             "generator_2": "new", "annotator": "gpt", "preference": 1.75},
            {"instruction": "How?", "output_1": "No", "generator_1": "base", "output_2": "So", "generator_2": "new",
             "annotator": "gpt", "preference": 0},
        ],
        [("new", "base", 0.75, None, 7, 2), ("new", "base", 0.5, None, 2, 2)],
    ),
    "arena_votes": (
        [
            {"question_id": "q", "model_a": "x", "model_b": "y", "winner": "model_b", "judge": "user 1", "tstamp": 1.0,
             "conversation_a": _SAID, "conversation_b": _SAID},
            {"id": "e", "model_a": "x", "model_b": "y", "winner": "both_bad", "evaluation_order": 1,
             "evaluation_session_id": "s", "conversation_a": _PARTS, "conversation_b": _PARTS},
        ],
        [("x", "y", 0.0, True, 8, 8), ("x", "y", 0.5, True, 3, 3)],
    ),
    "arena_one_hot": (
        [{"id": 1, "model_a": "x", "model_b": "y", "prompt": "p", "response_a": "abc", "response_b": "ab",
          "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}],
        [("x", "y", 1.0, None, 3, 2)],
    ),
    "llmfao": (
        [{"id": 0, "prompt": 8, "model_x": 1, "model_y": 2, "worker": 5, "winner": "right", "left": "x", "right": "y"}],
        [("x", "y", 0.0, True, None, None)],
    ),
    "panda_lm": (
        [{"idx": 0, "cmp_key": "x-7b_y-7b", "instruction": "Do", "input": "it", "response1": "abc", "response2": "ab",
          "annotator1": 1, "annotator2": 2, "annotator3": 0}],
        [("x-7b", "y-7b", 1.0, None, 3, 2), ("x-7b", "y-7b", 0.0, None, 3, 2), ("x-7b", "y-7b", 0.5, None, 3, 2)],
    ),
    "judged_pairs": (
        [{"judge": "chat", "prompt_id": "p", "group_id": "g", "model": "trained", "baseline": "untrained",
          "generation_id": "a", "baseline_generation_id": "b", "model_first": False, "preference": 1.0,
          "reason": None}],
        [("trained", "untrained", 1.0, False, None, None)],
    ),
    "judged": (
        [{"model_a": "x", "model_b": "y", "preference": 0.25, "prompt": "p", "a_first": True, "length_a": 9,
          "length_b": 4}],
        [("x", "y", 0.25, True, 9, 4)],
    ),
}  # fmt: skip


def written(folder: Path, records: list[dict[str, Any]]) -> str:
    path = folder / "judged.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def request(rows: str, **gate: Any) -> Request:
    scoring = ScoringOptions(ReferenceConfig(), SequencesConfig(), Path("store"))
    return Request(rows, None, (), None, ReadOptions(), scoring, Gate(**gate))


@pytest.mark.parametrize("layout", list(CASES))
def test_each_layout_is_read(layout, tmp_path):
    records, wanted = CASES[layout]
    location = written(tmp_path, records)
    assert is_judged(location)
    assert is_judged_request(request(location))
    read = read_judged(location)
    columns = ("model_a", "model_b", "preference", "a_first", "length_a", "length_b")
    assert (read.layout, read.frame.select(columns).rows()) == (layout, wanted)
    alone = read_judged(written(tmp_path, records[:1]))
    assert of_frame(pl.DataFrame(records[:1])).frame.equals(alone.frame)


def test_judges_that_are_numbers_are_apart_and_flags_may_be_text(tmp_path):
    row = {"prompt": "p", "model_a": "x", "model_b": "y", "preference": 1.0}
    rows = [{**row, "judge": 1, "a_first": "true"}, {**row, "judge": 2, "a_first": ""}, {**row, "judge": 0}]
    read = read_judged(written(tmp_path, rows)).frame
    assert read.select("judge", "a_first").rows() == [("1", True), ("2", None), ("0", None)]


@pytest.mark.parametrize("length", [1e30, -1])
def test_a_length_that_is_none_costs_its_row_and_is_said(tmp_path, length):
    row = {"prompt": "p", "model_a": "x", "model_b": "y", "preference": 1.0, "length_a": 3}
    read = read_judged(written(tmp_path, [row, {**row, "length_a": length}]))
    assert read.frame["length_a"].to_list() == [3]
    assert read.notes[0].endswith("not read: 1 with a length that is none.")


def test_every_layout_has_a_case():
    assert set(CASES) == set(JUDGED_LAYOUTS)


def test_one_prompt_is_one_group_in_whatever_column_it_stands(tmp_path):
    row = {"model_a": "x", "model_b": "y", "preference": 1.0}
    read = read_judged(written(tmp_path, [{**row, "prompt": "p"}, {**row, "prompt": "p"}, {**row, "prompt": "q"}]))
    assert read.frame["group_id"].n_unique() == 2
    alone = read_judged(written(tmp_path, [row, row]))
    assert alone.frame["group_id"].n_unique() == 2
    assert any("2 rows name no prompt" in note for note in alone.notes)


def test_what_is_not_read_is_counted_and_said(tmp_path):
    row = {"model_a": "x", "model_b": "y", "winner": "model_a", "prompt": "p"}
    records = [
        row,
        {**row, "model_b": "x"},
        {**row, "winner": None},
        {**row, "winner": "who knows"},
        {**row, "model_a": ""},
    ]
    read = read_judged(written(tmp_path, records))
    assert read.frame.height == 1
    assert read.notes[0] == (
        "1 verdicts from 5 records read as arena_votes; not read: 2 with a field missing, 1 of one model with itself, "
        "1 with a verdict that is not known."
    )


@pytest.mark.parametrize("value", [None, -1, 3, "much"])
def test_a_preference_that_failed_is_no_verdict(value, tmp_path):
    good = CASES["alpaca_eval"][0][0]
    read = read_judged(written(tmp_path, [good, {**good, "preference": value}]))
    assert (read.frame.height, "not read: 1 with" in read.notes[0]) == (1, True)


def test_ties_that_say_both_are_bad_are_told(tmp_path):
    records, _ = CASES["arena_votes"]
    assert "1 of 1 ties say that both answers are bad." in read_judged(written(tmp_path, records)).notes


def test_three_models_a_row_are_refused(tmp_path):
    row = {"model_a": "x", "model_b": "y", "model_c": "z", "preference": 1.0}
    with pytest.raises(InputError, match="more than two models"):
        read_judged(written(tmp_path, [row]))


def test_a_file_without_a_verdict_is_refused(tmp_path):
    with pytest.raises(InputError, match="no verdict can be read as judged"):
        read_judged(written(tmp_path, [{"model_a": "x", "model_b": "x", "preference": 1.0}]))


def many(tmp_path: Path) -> str:
    rows = (
        [("a", "b", 1.0)] * 30 + [("b", "a", 1.0)] * 10 + [("b", "<i>c</i>", 1.0)] * 20 + [("<i>c</i>", "b", 1.0)] * 15
    )
    records = [
        {"model_a": one, "model_b": two, "preference": value, "prompt": str(place)}
        for place, (one, two, value) in enumerate(rows)
    ]
    return written(tmp_path, records)


def test_the_page_and_the_document_say_the_ratings(tmp_path):
    outcome = evaluate_pairs(read_judged(many(tmp_path)), Choices(draws=100))
    facts = write_judged(outcome, tmp_path / "out", "thumbline evaluate judged.jsonl")
    page = (tmp_path / "out" / "report.html").read_text()
    assert facts.sentence in page
    assert "a has the highest rating, 1,191" in facts.sentence
    assert ("<i>c</i>" not in page, "&lt;i&gt;c&lt;/i&gt;" in page) == (True, True)
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    jsonschema.validate(document, metrics_schema())
    assert (document["baseline"], document["reward"]) == ("b", None)
    assert pl.read_parquet(tmp_path / "out" / "judged.parquet").height == 75


def test_of_two_models_the_sentence_says_who_is_preferred(tmp_path):
    rows = [
        {"model_a": "new", "model_b": "base", "preference": float(place % 4 > 0), "prompt": str(place)}
        for place in range(40)
    ]
    outcome = evaluate_pairs(read_judged(written(tmp_path, rows)), Choices(draws=100, baseline="base"))
    facts = write_judged(outcome, tmp_path / "out", "")
    assert facts.tone == "better"
    assert facts.sentence.startswith("new is preferred to base: it wins 75.0% of 40 comparisons, ties half")
    turned = evaluate_pairs(read_judged(written(tmp_path, rows)), Choices(draws=100, baseline="new"))
    assert write_judged(turned, tmp_path / "out", "").tone == "worse"


def test_floors_hold_for_every_model_but_the_baseline(tmp_path):
    location = many(tmp_path)
    outcome = evaluate_pairs(read_judged(location), Choices(draws=100))
    asked = request(location, floors=("rating=900",), junit=tmp_path / "junit.xml")
    conditions = check_judged_gate(asked, outcome)
    assert [(one.name, one.holds) for one in conditions] == [
        ("<i>c</i>: rating at least 900", True),
        ("a: rating at least 900", True),
    ]
    assert (tmp_path / "junit.xml").is_file()
    (condition, _) = check_judged_gate(request(location, floors=("win_rate=0.5",)), outcome)
    assert not condition.holds
    with pytest.raises(ConfigError, match="no metric 'accuracy'"):
        check_judged_gate(request(location, floors=("accuracy=0.5",)), outcome)


def test_options_about_log_probs_are_refused(tmp_path):
    location = many(tmp_path)
    with pytest.raises(ConfigError, match="--no-worse-than is not for judged pairs"):
        check_judged_request(request(location, no_worse_than="run"))
    with pytest.raises(ConfigError, match="--baseline"):
        evaluate_pairs(read_judged(location), Choices(baseline="aa"))


def test_ratings_of_a_frame_are_those_of_the_file(tmp_path):
    location = many(tmp_path)
    from_file, from_frame = (
        thumbline.ratings(location, draws=100),
        thumbline.ratings(pl.read_ndjson(location), draws=100),
    )
    assert from_file.metrics.equals(from_frame.metrics)
    assert from_file.table["model"].to_list() == ["a", "b", "<i>c</i>"]
    assert (from_file.verdict in repr(from_file), "1,191" in from_file._repr_html_()) == (True, True)
    assert from_file.save(tmp_path / "saved").is_file()
    with pytest.raises(InputError, match=r"thumbline\.ratings"):
        thumbline.evaluate(pl.read_ndjson(location))
