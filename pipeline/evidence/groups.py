"""Connected components over a narrow table of ids and the keys that they share."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Rows whose keys are held together: of all at once, sorting or looking them up takes several times their memory.
_SHARE_ROWS: Final = 2_000_000
_KEY_BITS: Final = 128
_LEADING_BITS: Final = 32


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
    shared = _repeated(links)
    keys = shared.select(pl.col("key").unique()).with_row_index("node", offset=count)
    by_key = shared.join(keys, on="key", validate="m:1").select(left="place", right="node")
    return components_of_edges(count + keys.height, pl.concat([by_key, edges])).head(count)


def _repeated(links: pl.DataFrame) -> pl.DataFrame:
    """The links whose key is another's too; keys that are numbers are looked at a share after the other."""
    is_repeated = pl.col("key").is_duplicated()
    if links.schema["key"] != pl.UInt128:
        return links.filter(is_repeated)
    count = 1 + links.height // _SHARE_ROWS
    of = links.select(pl.col("key") % count).to_series()
    return pl.concat(links.filter(of == share).filter(is_repeated) for share in range(count))


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


def dense(component: pl.Series) -> npt.NDArray[np.int32]:
    """(places,) the components' numbers without gaps, from 0, in the same order."""
    numbers = component.to_numpy()
    is_taken = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    is_taken[numbers] = True
    return np.asarray((np.cumsum(is_taken, dtype=np.int32) - 1)[numbers], dtype=np.int32)


def ranks_of_keys(keys: pl.Series) -> tuple[npt.NDArray[np.uint32], int]:
    """(keys,) the rank of each key among all different ones, from 0, and how many there are.

    Args:
        keys: Numbers of digests, so that ranges of them have about as many each.
    """
    count = 1 + len(keys) // _SHARE_ROWS
    leading = pl.col("key") // (1 << (_KEY_BITS - _LEADING_BITS))
    of = keys.to_frame("key").select(leading.cast(pl.UInt64) * count // (1 << _LEADING_BITS)).to_series().to_numpy()
    found = np.empty(len(keys), dtype=np.uint32)
    before = 0
    for share in range(count):
        places = np.flatnonzero(of == share)
        ranks = keys.gather(places).rank("dense").to_numpy()
        found[places] = ranks + np.uint32(before) - np.uint32(1)
        before += int(ranks.max(initial=0))
    return found, before
