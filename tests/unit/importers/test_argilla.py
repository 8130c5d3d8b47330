"""Argilla: what was submitted, in three shapes of records and four kinds of questions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.fixtures_argilla import FIELDS, exported, record, response, table_row, write
from tests.unit.importers.logs import checked, comparisons, read, read_lines, reasons, user, votes, write_lines
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError, InputError

FIRST, SECOND = FIELDS["response"], FIELDS["response-2"]
RATINGS = {"up": "4,5", "down": "1, 2", "unrated": "3"}


def test_only_what_was_submitted_is_a_vote(tmp_path: Path) -> None:
    result = read(write(tmp_path), options=RATINGS)
    (event,) = result.events.to_dicts()
    assert (event["completion"], event["vote"], event["model"]) == (FIRST, "up", "m-a")
    assert event["prompt"] == [user("How far is the moon?")]
    assert event["created_at"] == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    assert event["user_id"] is not None
    assert reasons(result) == ["not_submitted"]


@pytest.mark.parametrize(("rating", "vote"), [(5, "up"), (4.0, "up"), (2, "down"), (3, "unrated")])
def test_each_stated_rating(tmp_path: Path, rating: object, vote: str) -> None:
    assert votes(read_lines(tmp_path, record(response(quality=rating)), options=RATINGS)) == [(FIRST, vote)]


@pytest.mark.parametrize("value", [0, 6, 4.5, "good", True])
def test_a_value_whose_meaning_is_not_stated_is_rejected(tmp_path: Path, value: object) -> None:
    result = read_lines(tmp_path, record(response(quality=4), response(quality=value, user_id="bob")), options=RATINGS)
    assert reasons(result) == ["unknown_label"]
    assert repr(value) in result.rejects["detail"][0]
    assert votes(result) == [(FIRST, "up")]


def test_without_options_no_label_is_known(tmp_path: Path) -> None:
    assert reasons(read_lines(tmp_path, record(response(quality="positive")))) == ["unknown_label"]


COMPARED = {
    "completion": "response",
    "other": "response-2",
    "first": "A",
    "second": "B",
    "tied": "same",
    "both_bad": "no",
}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("A", {FIRST: "chosen", SECOND: "rejected"}),
        ("B", {FIRST: "rejected", SECOND: "chosen"}),
        ("same", {FIRST: "tied", SECOND: "tied"}),
        ("no", {FIRST: "both_bad", SECOND: "both_bad"}),
    ],
)
def test_a_label_that_compares_two_answers(tmp_path: Path, label: str, expected: dict[str, str]) -> None:
    events = read_lines(tmp_path, record(response(better=label)), options=COMPARED).events
    assert dict(events.select("completion", "vote").rows()) == expected
    assert dict(events.select("completion", "position").rows()) == {FIRST: 1, SECOND: 2}
    assert events["comparison_kind"].unique().to_list() == ["preference"]


RANKS = [{"value": "response-2", "rank": 1}, {"value": "response", "rank": 2}]


@pytest.mark.parametrize("ranking", [RANKS, ["response-2", "response"]])
def test_a_ranking_compares_every_two_answers(tmp_path: Path, ranking: object) -> None:
    result = read_lines(tmp_path, record(response(order=ranking)))
    assert comparisons(result) == [("ranking", f"chosen: {SECOND}", f"rejected: {FIRST}")]


def test_equal_ranks_are_tied_and_three_answers_are_three_pairs(tmp_path: Path) -> None:
    ranks = [{"value": "response", "rank": 1}, {"value": "response-2", "rank": 1}, {"value": "response-3", "rank": 2}]
    row = record(response(order=ranks), fields=FIELDS | {"response-3": "No idea."})
    assert comparisons(read_lines(tmp_path, row)) == [
        ("ranking", f"chosen: {SECOND}", "rejected: No idea."),
        ("ranking", f"chosen: {FIRST}", "rejected: No idea."),
        ("ranking", f"tied: {SECOND}", f"tied: {FIRST}"),
    ]


@pytest.mark.parametrize(
    "ranking",
    [["response", "answer-9"], [{"value": "response", "rank": "1"}], ["response", "response"], [7]],
)
def test_a_ranking_of_what_is_no_field_is_rejected(tmp_path: Path, ranking: object) -> None:
    assert reasons(read_lines(tmp_path, record(response(order=ranking)))) == ["unknown_label"]


def test_a_rewritten_answer_is_chosen_over_the_original(tmp_path: Path) -> None:
    row = record(response(quality=1, better="384,400 km, on average."))
    result = read_lines(tmp_path, row, options=RATINGS | {"edit": "better"})
    assert comparisons(result) == [("edit", "chosen: 384,400 km, on average.", f"rejected: {FIRST}")]
    assert (FIRST, "down") in votes(result)
    assert result.events.filter(pl.col("vote") == "chosen")["model"].to_list() == [None]
    unchanged = read_lines(tmp_path, record(response(quality=1, better=FIRST)), options=RATINGS | {"edit": "better"})
    assert reasons(unchanged) == ["same_answer"]


def test_the_three_shapes_say_the_same(tmp_path: Path) -> None:
    users = [
        {"user_id": "ann", "value": 5, "status": "submitted"},
        {"user_id": "bob", "value": 1, "status": "discarded"},
    ]
    rows = [
        record(response(quality=5), response("discarded", "bob", quality=1), metadata={}),
        exported("quality", *users),
        table_row("quality", [5, 1], ["ann", "bob"], ["submitted", "discarded"]),
    ]
    results = [read_lines(tmp_path, row, options=RATINGS) for row in rows]
    pl.DataFrame([rows[2]]).write_parquet(tmp_path / "table.parquet")
    results.append(read(tmp_path / "table.parquet", options=RATINGS))
    apart = ("event_id", "created_at", "source_file")
    expected = results[0].events.drop(apart)
    for result in results:
        assert result.events.drop(apart).equals(expected)
        assert reasons(result) == ["not_submitted"]


def test_an_export_without_status_needs_the_option(tmp_path: Path) -> None:
    row = exported("quality", {"user_id": "ann", "value": 5})
    assert reasons(read_lines(tmp_path, row, options=RATINGS)) == ["missing_field"]
    assert votes(read_lines(tmp_path, row, options=RATINGS | {"without_status": "submitted"})) == [(FIRST, "up")]


def test_which_question_holds_the_vote_is_asked(tmp_path: Path) -> None:
    row = record(response(quality=5, safe="yes"))
    with pytest.raises(InputError, match="questions quality, safe were answered"):
        read_lines(tmp_path, row, options=RATINGS)
    assert votes(read_lines(tmp_path, row, options=RATINGS | {"question": "quality"})) == [(FIRST, "up")]


def test_a_stated_question_that_nobody_answered_is_an_error_that_lists_those_answered(tmp_path: Path) -> None:
    row = record(response(quality=5, safe="yes"))
    for option in ("question", "edit"):
        with pytest.raises(InputError, match=f"'mood' is answered nowhere; answered are: quality, safe.*as {option} "):
            read_lines(tmp_path, row, options=RATINGS | {"question": "quality", option: "mood"})
    with pytest.raises(InputError, match="answered nowhere; no question is answered in the inputs"):
        read_lines(tmp_path, {"instruction": "Hi", "output": "Hello"}, format="argilla", options={"question": "mood"})


def test_a_question_that_is_answered_late_in_one_file_of_several_is_found(tmp_path: Path) -> None:
    other = record(response(safe="yes"))
    write_lines(tmp_path / "a.jsonl", other)
    write_lines(tmp_path / "b.jsonl", *[other] * 300, record(response(quality=5)))
    config = {"inputs": (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")), "options": RATINGS}
    result = checked(EventsConfig.model_validate(config | {"options": RATINGS | {"question": "quality"}}))
    assert votes(result) == [(FIRST, "up")]
    assert result.notes["reject_reasons"] == {"no_vote": 301}


@pytest.mark.parametrize("row", [table_row("quality", [], [], []), exported("quality")])
def test_a_question_without_an_answer_does_not_count_as_answered(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="answered nowhere"):
        read_lines(tmp_path, row, options=RATINGS | {"question": "quality"})


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="label '4' is stated for two votes: 'up' and 'down'"):
        read_lines(tmp_path, record(response(quality=4)), options={"up": "4", "down": "4"})
    with pytest.raises(ConfigError, match="state the second's field as other"):
        read_lines(tmp_path, record(response(quality=4)), options={"first": "A"})


def test_other_names_of_fields_are_stated(tmp_path: Path) -> None:
    row = record(response(quality=5), fields={"asked": "Hi", "said": "Hello"})
    assert reasons(read_lines(tmp_path, row, options=RATINGS)) == ["missing_field"]
    stated = RATINGS | {"prompt": "asked", "completion": "said"}
    assert votes(read_lines(tmp_path, row, options=stated)) == [("Hello", "up")]


def test_a_record_that_nobody_answered_is_unrated(tmp_path: Path) -> None:
    assert votes(read_lines(tmp_path, record())) == [(FIRST, "unrated")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(response("pending", quality=5)), "unknown_label"),
        (record(response()), "no_vote"),
        (record(response(quality=5), fields={"prompt": "Hi"}), "missing_field"),
        (record(response(quality=5), fields=FIELDS | {"response": " "}), "empty_completion"),
        (record(responses="none"), "wrong_type"),
        (table_row("quality", [5], ["ann", "bob"], ["submitted"]), "wrong_type"),
    ],
)
def test_a_record_or_response_that_is_not_clear_is_rejected(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    result = read_lines(tmp_path, record(response(quality=5)), bad, options=RATINGS | {"question": "quality"})
    assert reasons(result) == [reason]
    assert votes(result) == [(FIRST, "up")]
