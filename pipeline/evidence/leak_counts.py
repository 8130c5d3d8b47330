"""How many texts splits and evaluation sets share, counted from numbers: of any number of keys a share at a time.

A key of a text is three numbers: the two halves of its digest, and the place of its prompt with the text's kind.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ..identity import halves_of
from ..storage.arrays import ArrayFile, shares
from ..tables import LEAK_TEXT, SPLIT

Keys = npt.NDArray[np.uint64]
# Keys that are looked at together: 24 bytes each, several times over while they are sorted.
_SHARE_ROWS: Final = 2_000_000
# The kind of a text takes the last bits of a key's third number.
_KIND_BITS: Final = 3
_KINDS: Final = len(LEAK_TEXT.categories)
_MASKS: Final = 1 << len(SPLIT.categories)


def key_numbers(keys: pl.DataFrame) -> Keys:
    """(keys, 3) the numbers of `key`, `place` and `text`."""
    place = pl.col("place").cast(pl.UInt64) * (1 << _KIND_BITS)
    of = keys.select(place + pl.col("text").to_physical()).to_series().to_numpy()
    return np.stack([*halves_of(keys["key"]), of], axis=1)


def masks_of(splits: pl.Series) -> npt.NDArray[np.uint8]:
    """(places,) the bit of each place's split; 0 where it has none."""
    codes = splits.cast(SPLIT).to_physical().cast(pl.Int16).fill_null(-1).to_numpy()
    return np.where(codes < 0, 0, 1 << np.maximum(codes, 0)).astype(np.uint8)


class LeakKeys:
    """Keys of texts in a flat file, whose prompts have no split yet."""

    def __init__(self, path: Path) -> None:
        """Begin a file, in place of one that a process left that was killed."""
        self._path = path
        self._file = ArrayFile(path, np.uint64)

    def add(self, keys: Keys, places_before: int) -> None:
        """Add keys whose places begin at 0 where so many come before them."""
        keys[:, 2] += np.uint64(places_before << _KIND_BITS)
        self._file.append(keys)

    def counted(self, masks: npt.NDArray[np.uint8], sets: Mapping[str, pl.DataFrame]) -> "LeakCounts":
        """All keys counted, once.

        Args:
            masks: (places,) as `masks_of` gives them.
            sets: As `LeakCounts` takes them.
        """
        self._file.__exit__(None, None, None)
        found = LeakCounts(sets)
        for keys in shares([self._path], 3, _SHARE_ROWS):
            found.add(keys, masks)
        return found

    def close(self) -> None:
        """Delete the file."""
        # What a full disk does not take any more is not wanted.
        with suppress(OSError):
            self._file.__exit__(None, None, None)
        self._path.unlink(missing_ok=True)


class LeakCounts:
    """How many different texts a split or an evaluation set has, and how many of them two have both."""

    def __init__(self, sets: Mapping[str, pl.DataFrame]) -> None:
        """Begin without a key of a split.

        Args:
            sets: `text` and `key` of each evaluation set's texts by its name.
        """
        # How many texts each set of splits holds, by kind.
        self._held = np.zeros((_KINDS, _MASKS), dtype=np.int64)
        self._sets = {name: _halves(keys) for name, keys in sets.items()}
        self._set_held = {name: np.zeros((_KINDS, _MASKS), dtype=np.int64) for name in sets}

    def add(self, keys: Keys, masks: npt.NDArray[np.uint8]) -> None:
        """Count keys of which none is in another call.

        Args:
            keys: (keys, 3) as `key_numbers` gives them.
            masks: (places,) as `masks_of` gives them.
        """
        held = masks[keys[:, 2] >> np.uint64(_KIND_BITS)]
        kinds = (keys[:, 2] & np.uint64((1 << _KIND_BITS) - 1)).astype(np.uint8)
        for kind in range(_KINDS):
            own = (kinds == kind) & (held > 0)
            if own.any():
                self._add(kind, _distinct(keys[own, 0], keys[own, 1], held[own]))

    def _add(self, kind: int, texts: pl.DataFrame) -> None:
        self._held[kind] += np.bincount(texts["mask"].to_numpy(), minlength=_MASKS)
        for name, halves in self._sets.items():
            met = texts.join(halves.filter(pl.col("kind") == kind), on=["high", "low"], how="inner", validate="1:1")
            self._set_held[name][kind] += np.bincount(met["mask"].to_numpy(), minlength=_MASKS)

    def texts(self, owner: str, text: str) -> int:
        """How many different texts of a kind a split or an evaluation set has."""
        if owner in self._sets:
            return self._sets[owner].filter(pl.col("kind") == _kind(text)).height
        return int(self._held[_kind(text), _with(owner)].sum())

    def shared(self, split: str, owner: str, text: str) -> int:
        """How many of the owner's texts a split has too."""
        if owner in self._sets:
            return int(self._set_held[owner][_kind(text), _with(split)].sum())
        return int(self._held[_kind(text), _with(split) & _with(owner)].sum())


def _distinct(high: Keys, low: Keys, held: npt.NDArray[np.uint8]) -> pl.DataFrame:
    """`high`, `low` and `mask`: each key once, with all splits that hold it."""
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    first = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])]
    starts = np.flatnonzero(first)
    mask = np.bitwise_or.reduceat(held[order], starts)
    return pl.DataFrame({"high": high[starts], "low": low[starts], "mask": mask})


def _halves(keys: pl.DataFrame) -> pl.DataFrame:
    """`kind`, `high` and `low` of each different text."""
    numbers = key_numbers(keys.select("text", "key", place=pl.lit(0)).unique(["text", "key"]))
    kinds = pl.Series("kind", numbers[:, 2]).cast(pl.Int64)
    return pl.DataFrame({"kind": kinds, "high": numbers[:, 0], "low": numbers[:, 1]})


def _kind(text: str) -> int:
    return LEAK_TEXT.categories.to_list().index(text)


def _with(split: str) -> npt.NDArray[Any]:
    """(masks,) which of all sets of splits hold one."""
    bit = 1 << SPLIT.categories.to_list().index(split)
    return (np.arange(_MASKS) & bit) > 0
