"""Message lists gathered by their flat columns, beside polars' own gather; strings copied out of a part's memory."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.storage.columns import (
    asked_messages,
    copied_strings,
    gathered,
    gathered_rows,
    message_lists,
    single_messages,
)
from thumbline.pipeline.tables import MESSAGES, TABLES, VOTE, polars_schema

MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text(max_size=20)})
LISTS = st.lists(st.lists(MESSAGE, max_size=3), max_size=8)


def column(lists):
    return pl.Series("prompt", lists, dtype=MESSAGES)


@given(LISTS, st.data())
def test_rows_are_those_that_polars_gathers(lists, data):
    place = st.integers(0, len(lists) - 1)
    rows = np.array(data.draw(st.lists(place, max_size=12) if lists else st.just([])), dtype=np.int64)
    assert gathered(column(lists), rows).equals(column([lists[row] for row in rows]))


@given(LISTS, st.integers(0, 4))
def test_a_slice_is_gathered_like_a_column_of_its_own(lists, start):
    cut = column(lists).slice(start)
    assert gathered(cut, np.arange(len(cut))[::-1]).equals(cut.reverse())


@given(st.lists(st.lists(MESSAGE | MESSAGE.map(lambda message: message | {"extra": "{}"}), max_size=3), max_size=8))
def test_messages_of_python_become_the_lists_that_polars_makes_of_them(lists):
    made = message_lists("prompt", lists)
    assert made.dtype == MESSAGES
    assert made.equals(column(lists), null_equal=True)


def test_all_columns_of_a_frame_keep_their_places():
    lists = [[{"role": "user", "content": "a"}], [], [{"role": "user", "content": "b"}] * 2]
    frame = pl.DataFrame([pl.Series("row", [0, 1, 2]), column(lists), pl.Series("name", ["x", None, "z"])])
    assert gathered_rows(frame, np.array([2, 0, 0])).equals(frame[[2, 0, 0]])
    assert gathered_rows(frame.clear(), np.array([], dtype=np.int64)).equals(frame.clear())
    assert gathered_rows(frame.drop("prompt"), np.array([1])).equals(frame.drop("prompt")[[1]])


@pytest.mark.parametrize("texts", [[], ["one"], ["", "two\n", "dreißig \U0001f600"]])
def test_each_text_becomes_a_list_of_one_message(texts):
    made = single_messages(pl.Series("prompt", texts, dtype=pl.String), "user")
    assert made.equals(column([[{"role": "user", "content": text}] for text in texts]))


def text_bytes(texts):
    return sum(buffer.size for buffer in texts.to_arrow(compat_level=pl.CompatLevel.newest()).buffers() if buffer)


def test_rows_stay_the_same_and_let_go_of_the_others():
    texts = [f"{number} " + "long enough to lie in a buffer " * 30 for number in range(1_000)]
    prompts = pl.Series([[{"role": "user", "content": text}] for text in texts], dtype=MESSAGES)
    votes = pl.Series(["up", None] * 500, dtype=VOTE)
    whole = pl.DataFrame({"row": range(1_000), "completion": texts, "prompt": prompts, "vote": votes})
    few = whole.slice(500, 3)
    copied = copied_strings(few)
    assert copied.equals(few)
    assert copied.schema == few.schema
    assert text_bytes(few["completion"]) > 900_000
    assert text_bytes(copied["completion"]) < 5_000


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_keeps_its_columns(table):
    empty = polars_schema(table).to_frame()
    assert copied_strings(empty).schema == empty.schema


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.text(max_size=5)), max_size=8))
def test_system_texts_stand_before_the_texts_that_have_one(pairs):
    systems = pl.Series("system", [system for system, _ in pairs], dtype=pl.String)
    made = asked_messages(systems, pl.Series("prompt", [text for _, text in pairs], dtype=pl.String))
    expected = [
        [{"role": role, "content": text} for role, text in (("system", system), ("user", asked)) if text is not None]
        for system, asked in pairs
    ]
    assert made.equals(column(expected))
