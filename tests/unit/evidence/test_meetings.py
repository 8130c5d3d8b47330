"""Which conversations a shared prompt keeps together: its oldest ones, and never so many that a log is glued."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.evidence.meetings import MOST_TOGETHER, kept_together
from thumbline.pipeline.tables import TIME

START = datetime(2026, 1, 1, tzinfo=UTC)
_SCHEMA = {"text": pl.Int32, "node": pl.Int32, "is_user": pl.Boolean, "at": TIME}


def together(names, rows):
    """The component of each text; the names of texts and keys are in the order of their numbers."""
    met = pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(key=pl.col("node").cast(pl.UInt128))
    named = pl.Series(names, dtype=pl.UInt128)
    texts = np.arange(len(named), dtype=np.int32)
    return kept_together(texts, [met], 1 + met["node"].max(), named.gather).tolist()


def groups(*met, texts=None):
    """Sets of texts that are together, from (text, conversation, minute) of each meeting."""
    rows = [(text, key, False, START + timedelta(minutes=at)) for text, key, at in met]
    names = range(texts or 1 + max(text for text, _, _ in met))
    found = together(names, rows)
    sets = {}
    for text, component in enumerate(found):
        sets.setdefault(component, set()).add(text)
    return {frozenset(group) for group in sets.values()}


def test_texts_of_one_conversation_are_together():
    assert groups((0, 7, 1), (1, 7, 2), (2, 8, 3)) == {frozenset({0, 1}), frozenset({2})}


def test_a_text_that_two_conversations_share_joins_them():
    assert groups((0, 7, 1), (1, 7, 2), (1, 8, 3), (2, 8, 4)) == {frozenset({0, 1, 2})}


def test_a_popular_text_keeps_its_oldest_conversations_and_no_more():
    # Conversation k, for k = 1..9, opens with text 0 at minute 10k and goes on with text k.
    met = [turn for k in range(1, 10) for turn in ((0, k, 10 * k), (k, k, 10 * k + 1))]
    oldest = frozenset(range(MOST_TOGETHER + 1))
    assert groups(*met) == {oldest, *(frozenset({k}) for k in range(MOST_TOGETHER + 1, 10))}


def test_a_chain_of_shared_texts_is_cut_in_the_order_of_time():
    # Text k is at home in conversation k and joins k + 1 to it, the last text first: 5 to 8 (8 has no text at home),
    # then 1 to 4; 4 and 5, and 0 and 1, would be too many.
    met = [turn for k in range(8) for turn in ((k, k, 100 - k), (k, k + 1, 200 - k))]
    assert groups(*met) == {frozenset({5, 6, 7}), frozenset({1, 2, 3, 4}), frozenset({0})}


def test_users_and_conversations_of_a_text_are_one_unit():
    rows = [(0, 1, False, START), (0, 9, True, START), (1, 2, False, START), (1, 9, True, START + timedelta(minutes=1))]
    found = together([0, 1], rows)
    assert found[0] == found[1]


turns = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 9)), min_size=1, max_size=40)


@given(turns)
def test_no_group_has_more_conversations_than_may_be_together(met):
    timed = {pair: minute for minute, pair in reversed(list(enumerate(met)))}
    homes = {}
    for text, key in sorted(timed, key=lambda pair: timed[pair]):
        homes.setdefault(text, key)
    for group in groups(*((text, key, minute) for (text, key), minute in timed.items()), texts=12):
        assert len({homes[text] for text in group if text in homes}) <= MOST_TOGETHER


@given(turns, turns)
def test_later_meetings_part_nothing_that_was_together_and_name_no_group_anew(old, new):
    def named(met):
        timed = {pair: minute for minute, pair in reversed(list(enumerate(met)))}
        found = groups(*((text, key, minute) for (text, key), minute in timed.items()), texts=12)
        first = {text: minute for (text, _), minute in sorted(timed.items(), key=lambda item: -item[1])}
        # A group is named by its oldest text.
        return {text: min(group, key=lambda one: first.get(one, 99)) for group in found for text in group}, first

    before, first = named(old)
    after, _ = named(old + new)
    for one in first:
        assert after[one] == after[before[one]]
        together = {before[other] for other in first if after[other] == after[one]}
        assert after[one] in together
