"""Components of places by keys and edges: the same, however many keys are looked at together."""

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.evidence import groups, meetings
from thumbline.pipeline.evidence.groups import components_of_places, dense, first_places
from thumbline.pipeline.evidence.meetings import kept_together
from thumbline.pipeline.tables import TIME

NO_EDGES = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})


def numbers(count, different, seed=0):
    """Keys as digests have them, over the whole range, some of them equal."""
    draw = np.random.default_rng(seed)
    halves = draw.integers(0, 1 << 63, size=(different, 2), dtype=np.uint64) * np.uint64(2)
    known = [int(high) << 64 | int(low) for high, low in halves]
    return pl.Series("key", [known[place] for place in draw.integers(different, size=count)], dtype=pl.UInt128)


def partition(component):
    """Sets of places, whatever their components are called."""
    found = {}
    for place, name in enumerate(component):
        found.setdefault(name, set()).add(place)
    return {frozenset(places) for places in found.values()}


def test_keys_and_edges_join_places():
    links = pl.DataFrame([pl.Series("place", range(60), dtype=pl.UInt32), numbers(60, 40)])
    edges = pl.DataFrame({"left": [3, 50], "right": [50, 7]}, schema=NO_EDGES.schema)
    by_key = {}
    for place, key in links.iter_rows():
        by_key.setdefault(key, set()).add(place)
    assert partition(components_of_places(60, links, NO_EDGES)) == {frozenset(places) for places in by_key.values()}
    joined = frozenset().union(*(places for places in by_key.values() if places & {3, 50, 7}))
    assert joined in partition(components_of_places(60, links, edges))


def test_a_component_is_called_by_its_smallest_place():
    edges = pl.DataFrame({"left": [5, 2], "right": [4, 5]}, schema=NO_EDGES.schema)
    links = pl.DataFrame(schema={"place": pl.UInt32, "key": pl.UInt128})
    found = components_of_places(7, links, edges)
    assert found.to_list() == [0, 1, 2, 3, 2, 2, 6]
    assert dense(found.to_numpy()).tolist() == [0, 1, 2, 3, 2, 2, 4]
    assert dense(found.head(0).to_numpy()).tolist() == []


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("share_rows", [1, 7, 1000])
@pytest.mark.parametrize(
    "keys", [numbers(50, 30), pl.Series(range(9), dtype=pl.UInt128).sample(50, with_replacement=True, seed=0)]
)
def test_the_first_place_of_each_key_is_found_whatever_the_shares(keys, share_rows, in_files, monkeypatch, tmp_path):
    monkeypatch.setattr(groups, "_SHARE_ROWS", share_rows)
    parts = [keys.slice(start, 20) for start in range(0, 50, 20)]
    found = first_places(parts, 50, tmp_path if in_files else None)
    known = keys.to_list()
    assert found.tolist() == [known.index(key) for key in known]
    assert not list(tmp_path.iterdir())
    assert first_places([], 0, tmp_path).tolist() == []


def test_keys_with_one_upper_half_are_told_apart_by_the_lower_one():
    keys = pl.Series([(7 << 64) + low for low in (3, 1, 3, 2, 1)], dtype=pl.UInt128)
    assert first_places([keys], 5, None).tolist() == [0, 1, 0, 3, 1]


@pytest.mark.parametrize("with_users", [False, True])
@pytest.mark.parametrize("share_rows", [1, 7])
def test_meetings_in_parts_and_shares_keep_together_what_all_of_them_do(share_rows, with_users, monkeypatch):
    draw = np.random.default_rng(1)
    rows, places = 200, 60
    # The first forty places have a text each, the others one of these again.
    texts = np.r_[np.arange(40), draw.integers(40, size=places - 40)].astype(np.int32)
    met = pl.DataFrame(
        {
            "place": draw.integers(places, size=rows),
            "key": numbers(rows, 50),
            "at": pl.Series(draw.integers(1000, size=rows) * 1_000_000, dtype=pl.Int64).cast(TIME),
        }
    ).sort("place")
    # A key is a conversation's or a user's.
    met = met.with_columns(is_user=(pl.col("key") % 3 == 0) if with_users else pl.lit(False))
    met = met.with_columns(
        text=pl.Series(texts).gather(met["place"]), node=pl.col("key").rank("dense").cast(pl.Int32) - 1
    )
    names = numbers(400, 40, seed=2).unique(maintain_order=True)

    def found(parts):
        return partition(kept_together(texts, parts, met["node"].max() + 1, names.gather).tolist())

    whole = found([met])
    assert 1 < len(whole) < places
    monkeypatch.setattr(meetings, "_SHARE_ROWS", share_rows)
    # No place is in two parts.
    parts = [met.filter(pl.col("place").is_between(start, start + 9)) for start in range(0, places, 10)]
    assert found(parts) == whole == found(parts[::-1])


def test_a_text_of_two_places_is_at_home_where_either_of_them_met_first():
    at = pl.Series([3, 2, 1], dtype=pl.Int64).cast(TIME)
    met = pl.DataFrame({"text": [0, 1, 0], "node": [0, 1, 2], "is_user": [False] * 3, "at": at, "key": [5, 6, 7]})
    met = met.cast({"text": pl.Int32, "node": pl.Int32, "key": pl.UInt128})
    texts = np.array([0, 1, 0], dtype=np.int32)
    # Places 0 and 2 have one text: conversations 0 and 2 are joined; place 1 stands alone.
    found = kept_together(
        texts, [met.slice(place, 1) for place in range(3)], 3, lambda some: pl.Series(some, dtype=pl.UInt128)
    )
    assert partition(found.tolist()) == {frozenset({0, 2}), frozenset({1})}
