"""How alike two texts are, as a polars expression over two columns."""

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import Indel

# Up to here all edits are found at once, in a time with the square of the length: ten milliseconds for these.
_LONGEST: Final = 32_768
# Of longer texts so many characters of each are compared at a time, and the next begin where three quarters end.
_WINDOW: Final = 16_384
_STEP: Final = 12_288
# rapidfuzz rounds a cutoff otherwise than what it counts: it would cut what is equal to it, or above it by a bit.
_ROUNDING: Final = 1e-6


def text_similarity(left: pl.Expr, right: pl.Expr, least: float = 0.0) -> pl.Expr:
    """1 - (insertions + deletions) / (characters of both), in [0, 1]: 1 for equal texts.

    The fewest edits, or where two texts differ over more than 32,768 characters as many as are found while one goes
    through both: they agree but where one goes on elsewhere than the other for more than about 10,000 characters.

    Args:
        left: Texts.
        right: Texts.
        least: What is below it may be 0 instead, which is found sooner.
    """
    return pl.map_batches([left, right], lambda texts: _similarity(texts[0], texts[1], least), return_dtype=pl.Float64)


def _similarity(left: pl.Series, right: pl.Series, least: float) -> pl.Series:
    ours, theirs = left.to_list(), right.to_list()
    long = [place for place, texts in enumerate(zip(ours, theirs, strict=True)) if _is_long(*texts)]
    windowed = [_of_long(ours[place], theirs[place]) for place in long]
    for place in long:
        ours[place] = theirs[place] = None
    cutoff = max(0.0, least - _ROUNDING)
    found = process.cpdist(
        ours, theirs, scorer=Indel.normalized_similarity, score_cutoff=cutoff, dtype=np.float64, workers=1
    )
    values = np.asarray(found, dtype=np.float64).reshape(-1)
    values[long] = windowed
    return pl.Series(values)


def _is_long(ours: str | None, theirs: str | None) -> bool:
    return ours is not None and theirs is not None and min(len(ours), len(theirs)) > _LONGEST


def _of_long(ours: str, theirs: str) -> float:
    characters = len(ours) + len(theirs)
    begin = _common(ours, theirs)
    ours, theirs = ours[begin:], theirs[begin:]
    end = _common(ours[::-1], theirs[::-1])
    return 1.0 - _edits(ours[: len(ours) - end], theirs[: len(theirs) - end]) / characters


def _common(ours: str, theirs: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(ours), len(theirs))
    while low < high:
        middle = (low + high + 1) // 2
        if ours[low:middle] == theirs[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _edits(ours: str, theirs: str) -> int:
    """How many characters are inserted or deleted between two texts: the fewest where one of them is short."""
    at, other, edits = 0, 0, 0
    while min(len(ours) - at, len(theirs) - other) > _LONGEST:
        step = _step(ours[at : at + _WINDOW], theirs[other : other + _WINDOW])
        at, other, edits = at + step.ours, other + step.theirs, edits + step.edits
    return edits + int(Indel.distance(ours[at:], theirs[other:]))


class _Step(NamedTuple):
    """How far one goes in both texts, and how many edits lie on the way."""

    ours: int
    theirs: int
    edits: int


def _step(ours: str, theirs: str) -> _Step:
    """The way through two windows with the fewest edits, up to where it has gone `_STEP` characters in one of them."""
    at = other = same = 0
    for block in Indel.editops(ours, theirs).as_matching_blocks():
        at, other = min(block.a, _STEP), min(block.b, _STEP)
        if max(block.a, block.b) >= _STEP:
            break
        taken = min(block.size, _STEP - max(at, other))
        at, other, same = at + taken, other + taken, same + taken
        if max(at, other) == _STEP:
            break
    return _Step(at, other, at + other - 2 * same)
