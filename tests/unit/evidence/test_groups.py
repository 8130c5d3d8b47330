"""Components of places by keys and edges: the same, however many keys are looked at together."""

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.evidence import groups, meetings
from thumbline.pipeline.evidence.groups import components_of_places, dense, ranks_of_keys
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


@pytest.mark.parametrize("share_rows", [1, 7, 1000])
def test_keys_in_shares_join_what_all_of_them_join(share_rows, monkeypatch):
    links = pl.DataFrame([pl.Series("place", range(60), dtype=pl.UInt32), numbers(60, 40)])
    edges = pl.DataFrame({"left": [3, 50], "right": [50, 7]}, schema=NO_EDGES.schema)
    by_key = {}
    for place, key in links.iter_rows():
        by_key.setdefault(key, set()).add(place)
    monkeypatch.setattr(groups, "_SHARE_ROWS", share_rows)
    assert partition(components_of_places(60, links, NO_EDGES)) == {frozenset(places) for places in by_key.values()}
    joined = frozenset().union(*(places for places in by_key.values() if places & {3, 50, 7}))
    assert joined in partition(components_of_places(60, links, edges))


def test_a_component_is_called_by_its_smallest_place():
    edges = pl.DataFrame({"left": [5, 2], "right": [4, 5]}, schema=NO_EDGES.schema)
    links = pl.DataFrame(schema={"place": pl.UInt32, "key": pl.UInt128})
    found = components_of_places(7, links, edges)
    assert found.to_list() == [0, 1, 2, 3, 2, 2, 6]
    assert dense(found).tolist() == [0, 1, 2, 3, 2, 2, 4]
    assert dense(found.head(0)).tolist() == []


@pytest.mark.parametrize("share_rows", [1, 7, 1000])
def test_keys_are_ranked_whatever_the_shares(share_rows, monkeypatch):
    monkeypatch.setattr(groups, "_SHARE_ROWS", share_rows)
    keys = numbers(50, 30)
    ranks, count = ranks_of_keys(keys)
    order = sorted(set(keys.to_list()))
    assert (ranks.tolist(), count) == ([order.index(key) for key in keys.to_list()], len(order))
    assert ranks_of_keys(keys.head(0))[1] == 0


@pytest.mark.parametrize("with_users", [False, True])
@pytest.mark.parametrize("share_rows", [1, 7])
def test_meetings_in_shares_keep_together_what_all_of_them_do(share_rows, with_users, monkeypatch):
    draw = np.random.default_rng(1)
    rows = 200
    met = pl.DataFrame(
        {
            "text": pl.Series(draw.integers(40, size=rows), dtype=pl.UInt32),
            "key": numbers(rows, 50),
            "at": pl.Series(draw.integers(1000, size=rows) * 1_000_000, dtype=pl.Int64).cast(TIME),
        }
    )
    # A key is a conversation's or a user's.
    met = met.with_columns(is_user=(pl.col("key") % 3 == 0) if with_users else pl.lit(False))
    names = numbers(400, 40, seed=2).unique(maintain_order=True)
    nodes, count = ranks_of_keys(met["key"])
    met = met.with_columns(node=pl.Series(nodes))
    whole = partition(kept_together(names, met, count))
    assert 1 < len(whole) < len(names)
    monkeypatch.setattr(meetings, "_SHARE_ROWS", share_rows)
    assert partition(kept_together(names, met, count)) == whole
