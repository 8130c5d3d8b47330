"""How alike two texts are, as a polars expression over two columns."""

import numpy as np
import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import Indel


def text_similarity(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """1 - (insertions + deletions) / (characters of both), in [0, 1]: 1 for equal texts."""
    return pl.map_batches([left, right], lambda columns: _similarity(*columns), return_dtype=pl.Float64)


def _similarity(left: pl.Series, right: pl.Series) -> pl.Series:
    found = process.cpdist(
        left.to_list(), right.to_list(), scorer=Indel.normalized_similarity, dtype=np.float64, workers=1
    )
    return pl.Series(np.asarray(found, dtype=np.float64).reshape(-1))
