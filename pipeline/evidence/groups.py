"""Connected components over a narrow table of ids and the keys that they share."""

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


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
    """
    ends = edges["left"].to_numpy().astype(np.int32), edges["right"].to_numpy().astype(np.int32)
    matrix = coo_array((np.ones(edges.height, dtype=np.int8), ends), shape=(count, count))
    _, component = connected_components(matrix, directed=False)
    return pl.Series("component", component, dtype=pl.Int32)
