"""Connected components over a narrow table of ids and the keys that they share."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..identity import halves_of
from ..storage.arrays import in_shares

# Keys that are sorted together, each with its place: 24 bytes, several times over.
_SHARE_ROWS: Final = 1_000_000


def components(links: pl.DataFrame) -> pl.DataFrame:
    """`id` and `component`: ids that a chain of shared keys joins have one component.

    Args:
        links: `id` and `key`, both strings; an id has one row a key.

    Returns:
        Sorted by id. A component's number means nothing beyond this call: name it by its members.
    """
    ids = links.select(pl.col("id").unique().sort()).with_row_index("place")
    places = links.join(ids, on="id", validate="m:1").select("place", "key")
    none = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})
    return ids.select("id", component=components_of_places(ids.height, places, none))


def components_of_places(count: int, links: pl.DataFrame, edges: pl.DataFrame) -> pl.Series:
    """(count,) the component of each place: places that a chain of shared keys and edges joins have one.

    Args:
        count: Places are the numbers below.
        links: `place` and `key`, of any type; a place has one row a key.
        edges: `left` and `right`: places that belong together.

    Returns:
        A component's number is its smallest place.
    """
    # Most keys are of one place and join nothing.
    shared = links.filter(pl.col("key").is_duplicated())
    keys = shared.select(pl.col("key").unique()).with_row_index("node", offset=count)
    by_key = shared.join(keys, on="key", validate="m:1").select(left="place", right="node")
    return components_of_edges(count + keys.height, pl.concat([by_key, edges])).head(count)


def components_of_edges(count: int, edges: pl.DataFrame) -> pl.Series:
    """(count,) the component of each place: places that a chain of edges joins have one.

    Args:
        count: Places are the numbers below.
        edges: `left` and `right`: places that belong together.

    Returns:
        A component's number is its smallest place.
    """
    found = np.arange(count, dtype=np.int32)
    ends = np.concatenate([edges[end].to_numpy().astype(np.int32) for end in ("left", "right")])
    touched, nodes = np.unique(ends, return_inverse=True)
    if len(touched):
        left, right = nodes.astype(np.int32).reshape(2, -1)
        matrix = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(touched), len(touched)))
        _, component = connected_components(matrix, directed=False)
        _, first = np.unique(component, return_index=True)
        found[touched] = touched[first[component]]
    return pl.Series("component", found)


def dense(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """(places,) the numbers without gaps, from 0, in the same order."""
    is_taken = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    is_taken[numbers] = True
    return np.asarray((np.cumsum(is_taken, dtype=np.int32) - 1)[numbers], dtype=np.int32)


def first_places(keys: Iterable[pl.Series], count: int, folder: Path | None) -> npt.NDArray[np.int32]:
    """(count,) the first place that has the key of each place.

    Args:
        keys: Numbers of 128 bits, of digests, one part of the places after the other.
        count: How many places there are in all.
        folder: Where keys may lie meanwhile; None: all are held in memory.
    """
    found = np.arange(count, dtype=np.int32)
    if count:
        for share in in_shares(_with_places(keys), count, folder, _SHARE_ROWS):
            high, low, places = share.T
            order = np.argsort(high, kind="stable")
            differs = high[order[1:]] != high[order[:-1]]
            if (low[order[1:]] != low[order[:-1]])[~differs].any():
                order = np.lexsort((low, high))
                differs = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
            ordered = places[order]
            starts = np.flatnonzero(np.r_[True, differs])
            # Of a share the places ascend, and of equal keys they still do.
            found[ordered] = np.repeat(ordered[starts], np.diff(starts, append=len(order)))
    return found


def _with_places(keys: Iterable[pl.Series]) -> Iterator[npt.NDArray[np.uint64]]:
    """(rows, 3) the two halves of each key and its place, a part after the other."""
    before = 0
    for part in keys:
        high, low = halves_of(part)
        yield np.stack([high, low, np.arange(before, before + len(part), dtype=np.uint64)], axis=1)
        before += len(part)
