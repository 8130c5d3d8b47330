"""Texts come back to the rows that name their answers, whatever order they lie in, and never another answer's."""

import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline.errors import TableError
from thumbline.pipeline.evidence.answers import answer_texts
from thumbline.pipeline.storage.texts import with_texts, without_texts
from thumbline.pipeline.tables import TEXTS, polars_schema, validate

WIDE = events_table(
    [event(f"prompt {number % 5}", f"answer {number % 9}", "up", user=str(number)) for number in range(40)]
)


def test_events_split_off_from_their_texts_are_put_together_again():
    rows = without_texts(WIDE)
    assert rows.schema == polars_schema("events")
    texts = validate("texts", answer_texts(WIDE))
    assert texts.height == WIDE["response_id"].n_unique()
    assert texts.select("prompt_id", "response_id").rows() == sorted(texts.select("prompt_id", "response_id").rows())
    assert with_texts(rows, texts, "events").equals(WIDE)


@pytest.mark.parametrize("place", range(3))
def test_the_order_of_rows_and_texts_does_not_matter(place):
    rows, texts = without_texts(WIDE), answer_texts(WIDE)
    shuffled = [
        rows.sample(fraction=1.0, shuffle=True, seed=place),
        texts.sample(fraction=1.0, shuffle=True, seed=place),
    ]
    found = with_texts(*shuffled, "events").sort("prompt_id", "response_id", "event_id")
    assert found.equals(WIDE)


def test_some_columns_of_rows_that_have_some_of_their_own():
    rows = WIDE.select("response_id", "vote")
    found = with_texts(rows, answer_texts(WIDE), "events", ("completion",))
    assert found.columns == ["response_id", "completion", "vote"]
    assert found["completion"].equals(WIDE["completion"])


def test_rows_that_hold_their_texts_keep_them():
    other = answer_texts(WIDE).with_columns(completion=pl.lit("another"))
    assert with_texts(WIDE, other, "events") is WIDE


def test_a_missing_text_is_named():
    texts = answer_texts(WIDE)
    with pytest.raises(TableError, match=f"events: table texts lacks 1 of its answers \\({texts['response_id'][2]}\\)"):
        with_texts(without_texts(WIDE), texts.filter(pl.int_range(pl.len()) != 2), "events")


def test_equal_texts_in_several_spellings_are_one_answer_in_that_of_the_smallest_event_id():
    rows = events_table([event(f" What?{' ' * number}", f"This.{' ' * number}", "up") for number in range(6)])
    assert rows["response_id"].n_unique() == 1
    texts = answer_texts(rows)
    first = rows.sort("event_id").head(1)
    assert texts.select(TEXTS).equals(first.select(TEXTS))


@pytest.mark.parametrize("table", ["events", "responses"])
def test_some_texts_without_the_others_are_refused(table):
    whole = polars_schema(table, optional=True).to_frame()
    validate(table, whole)
    validate(table, whole.drop(TEXTS))
    with pytest.raises(TableError, match="completion"):
        validate(table, whole.drop("completion_extra"))
