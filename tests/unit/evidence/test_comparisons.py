"""Comparisons of two answers: each is counted, or has its reason."""

import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.errors import TableError
from thumbline.pipeline.evidence.comparisons import check_counted, comparison_lines, comparisons_said
from thumbline.pipeline.evidence.votes import named
from thumbline.pipeline.stages import responses
from thumbline.pipeline.tables import validate


def side(name, text, vote, **other):
    given = {"user": "u1", "comparison_kind": "arena"} | other
    return event("Which tea?", text, vote, comparison_id=name, **given)


def told(name, chosen="Green.", rejected="Black.", **other):
    return [side(name, chosen, "chosen", **other), side(name, rejected, "rejected", **other)]


def made(rows, **config):
    events = named(events_table(rows).lazy())
    found = responses.transform(events, ResponsesConfig(**config))
    tables = {name: getattr(found, name).collect() for name in ("comparisons", "comparison_drops", "contradictions")}
    for name, table in tables.items():
        validate(name, table)
    check_counted(events, tables["comparisons"], tables["comparison_drops"])
    return tables


def reasons(rows, **config):
    return made(rows, **config)["comparison_drops"].select("comparison_id", "reason").rows()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (told("a"), []),
        ([side("a", "Green.", "chosen")], [("a", "missing_side")]),
        ([side("a", "Green.", "tied")], [("a", "missing_side")]),
        (told("a", rejected=" Green.\n"), [("a", "identical_text")]),
        # Two equal sides of a draw are one event, delivered twice.
        ([side("a", "Green.", "tied", deliveries=2)], [("a", "identical_text")]),
        ([side("a", "Green.", "chosen", deliveries=2)], [("a", "missing_side")]),
        ([side("a", "Green.", "chosen"), side("a", "Black.", "chosen")], [("a", "unclear")]),
        ([side("a", "Green.", "chosen"), side("a", "Black.", "tied")], [("a", "unclear")]),
        (told("a") + told("b", at=1), [("a", "repeated")]),
        (told("a") + told("b", "Black.", "Green.", at=1), [("a", "changed_mind")]),
        (told("a") + told("b", user="u2", at=1), []),
        (told("a", user=None) + told("b", user=None, at=1), []),
        (told("a") + told("b", comparison_kind="edit", at=1), []),
    ],
)
def test_a_comparison_that_is_not_counted_has_its_reason(rows, expected):
    assert reasons(rows) == expected


def test_answers_that_differ_in_indentation_are_compared():
    code = "if cold:\n    heat()\nserve()"
    assert made(told("a", code, code.replace("\nserve", "\n    serve")))["comparisons"].height == 1


def test_comparisons_with_an_answer_that_was_screened_out_say_so():
    rows = told("a", "Green tea, with a little honey.", "Black.")
    assert reasons(rows, min_completion_chars=10) == [("a", "screened")]


def test_a_ranking_is_compared_two_by_two_and_its_equals_are_not_missed():
    rows = [side("a", text, vote) for text, vote in (("1", "chosen"), ("2", "rejected"), ("3", "rejected"))]
    tables = made(rows)
    assert tables["comparisons"]["n_chosen"].sum() == 2
    assert tables["comparison_drops"].is_empty()
    assert comparisons_said(events_table(rows).lazy()) == 2
    draws = [side("b", text, "both_bad") for text in "1234"]
    assert comparisons_said(events_table(draws).lazy()) == made(draws)["comparisons"]["n_both_bad"].sum() == 6


def test_counts_that_do_not_add_up_stop_the_stage():
    rows = told("a") + told("b", at=1)
    tables = made(rows)
    events = events_table(rows).lazy()
    with pytest.raises(TableError, match="2 comparisons of two answers, but 1 are counted and 0 are in comparison_d"):
        check_counted(events, tables["comparisons"], tables["comparison_drops"].clear())


def test_what_is_not_counted_is_said():
    tables = made(told("a") + told("b", at=1) + [side("c", "Green.", "chosen")])
    lines = comparison_lines(tables["comparisons"], tables["comparison_drops"])
    assert lines == ["1 of 3 comparisons are counted; the others are in comparison_drops: missing_side 1, repeated 1."]
    assert comparison_lines(tables["comparisons"], tables["comparison_drops"].clear()) == []


def contradicted(rows):
    return made(rows)["contradictions"].select(pl.col("kind").cast(pl.String), "user_id", "n_up", "n_down").rows()


def test_contradictions_of_comparisons_are_counted():
    other = told("b", "Black.", "Green.", user="u2", at=1)
    assert contradicted(told("a") + other) == [("both_chosen", None, 1, 1)]
    assert contradicted(told("a") + told("b", "Black.", "Green.", at=1)) == [("changed_choice", "u1", 1, 1)]
    draw = [side("b", text, "tied", at=1) for text in ("Green.", "Black.")]
    (found,) = contradicted(told("a") + draw)
    assert (found[0], found[1], found[2] + found[3]) == ("changed_choice", "u1", 1)
    assert contradicted(told("a") + told("b", at=1)) == []
