"""Texts that are nearly the same: MinHash signatures, made text by text, and the links between them.

Signatures are made where the texts are, one partition at a time; links are found in the narrow table of ids and
signatures. Two texts are near-duplicates when their character 5-grams, after loose normalisation, have a Jaccard
similarity of at least a threshold; 128 hashes estimate it with a standard error of at most 0.045.

Source: A. Z. Broder, "On the resemblance and containment of documents", 1997; banding after J. Leskovec,
A. Rajaraman, J. D. Ullman, "Mining of Massive Datasets", chapter 3. Deviation: within a band, a text is compared with
the first and with the eight before it, not with all, so that a band of n equal texts costs n. Texts come oldest first:
then new texts take no link from old ones.
"""

from typing import Any, Final

import numpy as np
import polars as pl

from ..identity import loosely_normalised
from ..libraries import library

HASHES: Final = 128
# 32 bands of 4: a pair of similarity 0.8 shares a band with probability 1 - (1 - 0.8^4)^32 > 0.9999999, one of 0.5
# with 0.87; those below the threshold are sorted out by their whole signatures.
_BANDS: Final = 32
_ROWS: Final = HASHES // _BANDS
_LOOK_BACK: Final = 8
_ASKED_BY: Final = "the search for near-duplicates (pairs.group_prompts: near_duplicate, splits.near_duplicates)"
_SHINGLE: Final = 5
_SEED: Final = 20
_SIGNATURE: Final = pl.Array(pl.UInt32, HASHES)
SIGNATURES: Final = pl.Schema([("id", pl.String()), ("signature", _SIGNATURE)])


def signatures(texts: pl.LazyFrame) -> pl.LazyFrame:
    """`id` and `signature` of each text: a function of the text alone.

    Args:
        texts: `id` and `text`.

    Raises:
        MissingDependencyError: The library rensa is not installed.
    """
    rensa = _rensa()
    return texts.select(
        "id",
        signature=loosely_normalised(pl.col("text")).map_batches(
            lambda column: _signed(rensa, column), return_dtype=_SIGNATURE, is_elementwise=True
        ),
    )


def _signed(rensa: Any, column: pl.Series) -> pl.Series:
    shingles = [_shingles(text) for text in column.to_list()]
    rows = rensa.RMinHash.digest_matrix_from_token_sets(shingles, HASHES, _SEED).to_rows() if shingles else []
    matrix = np.asarray(rows, dtype=np.uint32).reshape(-1, HASHES)
    return pl.Series(matrix, dtype=_SIGNATURE)


def _shingles(text: str) -> list[str]:
    """Character 5-grams; a shorter text is its own only one."""
    return [text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1))]


def _rensa() -> Any:
    return library("rensa", _ASKED_BY)


def near_links(signed: pl.DataFrame, similarity: float) -> pl.DataFrame:
    """Links between near-duplicates: their components are the groups.

    Args:
        signed: Schema `SIGNATURES`, each id once, oldest first: rows added at the end leave all links as they are.
        similarity: Least estimated Jaccard similarity, in (0, 1).

    Returns:
        `left` and `right`, ids of an older and a newer text, each link once, sorted.
    """
    matrix = _matrix(signed)
    links = [np.empty((0, 2), dtype=np.int64)]
    for band in range(_BANDS):
        order, starts = _buckets(matrix[:, band * _ROWS : (band + 1) * _ROWS])
        place = np.arange(len(order))
        first = np.maximum.accumulate(np.where(starts, place, 0))
        for other in [first, *(place - back for back in range(1, _LOOK_BACK + 1))]:
            inside = (other >= first) & (other < place)
            links.append(np.stack([order[other[inside]], order[inside]], axis=1))
    candidates = np.unique(np.concatenate(links), axis=0)
    return _verified(signed, signed, matrix, matrix, candidates, similarity).sort("left", "right")


def near_matches(left: pl.DataFrame, right: pl.DataFrame, similarity: float) -> pl.Series:
    """Ids of `right` that have a near-duplicate in `left`, sorted.

    Args:
        left: As `SIGNATURES`, but ids may be numbers too.
        right: The same.
        similarity: Least estimated Jaccard similarity, in (0, 1).
    """
    left, right = (side.unique("id").sort("id") for side in (left, right))
    ours, theirs = _matrix(left), _matrix(right)
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in range(_BANDS):
        part = slice(band * _ROWS, (band + 1) * _ROWS)
        order, starts = _buckets(np.concatenate([ours[:, part], theirs[:, part]]))
        # Rows of `left` come first in each bucket; each row of `right` is compared with its bucket's first and last.
        is_left = order < len(ours)
        first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
        last = np.maximum.accumulate(np.where(is_left, np.arange(len(order)), -1))
        wanted = ~is_left & is_left[first]
        theirs_place = order[wanted] - len(ours)
        found += [np.stack([order[other], theirs_place], axis=1) for other in (first[wanted], last[wanted])]
    candidates = np.unique(np.concatenate(found), axis=0)
    return _verified(left, right, ours, theirs, candidates, similarity)["right"].unique().sort()


def _matrix(signed: pl.DataFrame) -> np.ndarray:
    """(texts, 128) uint32."""
    return np.asarray(signed["signature"].to_numpy(), dtype=np.uint32).reshape(-1, HASHES)


def _buckets(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in order of their keys, stable, and where a new key starts."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, starts


def _verified(
    left: pl.DataFrame,
    right: pl.DataFrame,
    left_matrix: np.ndarray,
    right_matrix: np.ndarray,
    candidates: np.ndarray,
    similarity: float,
) -> pl.DataFrame:
    """The candidates whose whole signatures agree in at least the share `similarity`."""
    agree = np.empty(len(candidates), dtype=np.float64)
    for start in range(0, len(candidates), 65_536):
        block = candidates[start : start + 65_536]
        agree[start : start + len(block)] = (left_matrix[block[:, 0]] == right_matrix[block[:, 1]]).mean(axis=1)
    kept = candidates[agree >= similarity]
    return pl.DataFrame([left["id"].gather(kept[:, 0]).alias("left"), right["id"].gather(kept[:, 1]).alias("right")])
