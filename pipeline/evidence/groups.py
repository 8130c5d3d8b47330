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
    keys = links.select(pl.col("key").unique().sort()).with_row_index("node")
    edges = links.join(ids, on="id", validate="m:1").join(keys, on="key", validate="m:1")
    size = ids.height + keys.height
    ends = edges["place"].to_numpy().astype(np.int64), edges["node"].to_numpy().astype(np.int64) + ids.height
    matrix = coo_array((np.ones(edges.height, dtype=np.int8), ends), shape=(size, size))
    _, component = connected_components(matrix, directed=False)
    return ids.select("id", component=pl.Series(component[: ids.height], dtype=pl.Int64))
