"""Groups of prompts to their splits: the split of each prompt that has rows, and the table of it."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import SplitsConfig
from ..errors import InputError, TableError
from ..identity import as_digits
from ..tables import SPLIT, polars_schema
from .clusters import Clusters, Partitions
from .placement import placed

# The code of a prompt that has no split.
_NONE: Final = -1


class Placed(NamedTuple):
    """Prompts and groups with their splits.

    Attributes:
        clusters: The prompts' groups; a group's `newest_event_at` is let go.
        codes: (prompts,) the code of each prompt's split, in the order of places; -1 where it has no rows.
        groups: `group_id`, `n_rows` and `split` of the groups that have rows.
    """

    clusters: Clusters
    codes: npt.NDArray[np.int8]
    groups: pl.DataFrame

    @property
    def height(self) -> int:
        """How many prompts have a split."""
        return int(np.count_nonzero(self.codes != _NONE))

    def splits(self) -> pl.Series:
        """(prompts,) the split of each place; null where it has none."""
        return _as_splits(self.codes)


def prompts_placed(clusters: Clusters, rows: Iterable[npt.NDArray[np.uint32]], config: SplitsConfig) -> Placed:
    """The split of every prompt that has rows.

    Args:
        clusters: The groups of all prompts.
        rows: How many rows prompts have, one part of them after the other, in the order of their places.
        config: Method, shares and salt.
    """
    groups, names = clusters
    n_rows = np.zeros(names.height, dtype=np.int64)
    has_rows = np.zeros(len(groups), dtype=bool)
    before = 0
    for part in rows:
        places = slice(before, before := before + len(part))
        np.add.at(n_rows, groups[places], part)
        has_rows[places] = part > 0
    is_kept = n_rows > 0
    kept = names.filter(pl.Series(is_kept)).with_columns(n_rows=pl.Series(n_rows[is_kept]))
    del n_rows
    if config.method == "time" and kept["newest_event_at"].null_count() == kept.height:
        raise InputError(
            "splits.method is time, but no event of a labelled or paired prompt has a time: map the log's time field "
            "in events.options, or set splits.method to hash."
        )
    kept = kept.with_columns(placed(kept, config)).drop("newest_event_at")
    codes = np.full(names.height, _NONE, dtype=np.int8)
    codes[is_kept] = kept["split"].to_physical().to_numpy()
    return Placed(
        Clusters(groups, names.drop("newest_event_at")), np.where(has_rows, codes[groups], np.int8(_NONE)), kept
    )


def rows_of(parts: Partitions, found: Placed) -> Iterator[pl.DataFrame]:
    """`prompt_id`, `group_id` and `split` of the prompts that have one, a partition after the other; ids as numbers."""
    groups, names = found.clusters
    for places, ids in zip(parts.places(), parts.each("prompts", "id"), strict=True):
        codes = found.codes[places]
        has_split = codes != _NONE
        of_groups = names["group_id"].gather(groups[places][has_split])
        prompts = ids["id"].filter(pl.Series(has_split)).alias("prompt_id")
        yield pl.DataFrame([prompts, of_groups, _as_splits(codes[has_split])])


def splits_table(rows: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Table `splits` in its order, as many parts as there are sets of rows.

    Args:
        rows: Sets of what `rows_of` gives, each of prompts whose ids come after those of the one before.

    Raises:
        TableError: A prompt has several rows.
    """
    before = pl.Series("prompt_id", [], dtype=pl.UInt128)
    for part in rows:
        ordered = part.sort("prompt_id")
        ids = pl.concat([before, ordered["prompt_id"]])
        if repeated := int((ids <= ids.shift(1)).sum()):
            raise TableError(f"splits: {repeated:,} of {len(ids):,} prompts came in several parts of the log.")
        before = ids.tail(1)
        digits = [as_digits(ordered["prompt_id"]), as_digits(ordered["group_id"])]
        yield ordered.with_columns(digits).select(list(polars_schema("splits")))


def _as_splits(codes: npt.NDArray[np.int8]) -> pl.Series:
    """Column `split`; null where a code is none."""
    found = pl.Series("split", codes)
    return found.set(found == _NONE, None).cast(pl.UInt8).cat.to(SPLIT)
