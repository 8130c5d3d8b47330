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
    # Most keys are of one id and join nothing. Looked up by hashes: one that two keys have costs time alone.
    shared = links.filter(pl.col("key").hash().is_duplicated())
    met = shared.select(pl.col("id").unique()).with_row_index("place")
    keys = shared.select(pl.col("key").unique()).with_row_index("node")
    edges = shared.join(met, on="id", validate="m:1").join(keys, on="key", validate="m:1").select("place", "node")
    size = met.height + keys.height
    ends = edges["place"].to_numpy().astype(np.int32), edges["node"].to_numpy().astype(np.int32) + met.height
    matrix = coo_array((np.ones(edges.height, dtype=np.int8), ends), shape=(size, size))
    count, component = connected_components(matrix, directed=False)
    joined = met.select("id", component=pl.Series(component[: met.height], dtype=pl.Int64))
    ids = links.select(pl.col("id").unique().sort())
    alone = pl.int_range(count, count + pl.len(), dtype=pl.Int64)
    found = ids.join(joined, on="id", how="left", validate="1:1", maintain_order="left")
    return found.select("id", pl.col("component").fill_null(alone))
