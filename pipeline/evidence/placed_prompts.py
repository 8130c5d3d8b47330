"""Prompts with their groups to their splits: the groups placed, the table of it, and the split of each place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from ..config import SplitsConfig
from ..errors import InputError, TableError
from ..identity import as_digits
from ..storage.parquet import ROW_GROUP_ROWS
from ..tables import SPLIT, polars_schema
from .groups import dense
from .placement import placed


class Placed(NamedTuple):
    """Prompts that have rows, and their groups, with their splits.

    Attributes:
        prompts: What was given, with `split`.
        groups: `group_id`, `newest_event_at`, `n_rows` and `split`.
    """

    prompts: pl.DataFrame
    groups: pl.DataFrame


def prompts_placed(kept: pl.DataFrame, config: SplitsConfig) -> Placed:
    """The prompts with their split, in their order.

    Args:
        kept: What `clusters.prompt_clusters` gave of prompts that have rows, and `n_rows`, how many.
        config: Method, shares and salt.
    """
    if config.method == "time" and kept["newest_event_at"].null_count() == kept.height:
        raise InputError(
            "splits.method is time, but no event of a labelled or paired prompt has a time: map the log's time field "
            "in events.options, or set splits.method to hash."
        )
    numbers = dense(kept["group"])
    # The last one of a group that is written is its first.
    first = np.empty(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    first[numbers[::-1]] = np.arange(kept.height)[::-1]
    n_rows = np.bincount(numbers, weights=kept["n_rows"].to_numpy()).astype(np.int64)
    named = kept.select("group_id", "newest_event_at")
    groups = pl.DataFrame({name: named[name].gather(first) for name in named.columns}).with_columns(
        n_rows=pl.Series(n_rows)
    )
    groups = groups.with_columns(placed(groups, config))
    return Placed(kept.with_columns(groups["split"].gather(numbers)), groups)


def splits_table(kept: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Table `splits` of what `prompts_placed` gave, a row group at a time; at least one.

    Raises:
        TableError: A prompt has several rows.
    """
    ordered = kept.select("prompt_id", "group_id", "split").sort("prompt_id")
    repeated = int((ordered["prompt_id"] == ordered["prompt_id"].shift(1)).sum())
    if repeated:
        raise TableError(f"splits: {repeated:,} of {ordered.height:,} prompts came in several parts of the log.")
    for rows in ordered.iter_slices(ROW_GROUP_ROWS) if ordered.height else [ordered]:
        ids = [as_digits(rows["prompt_id"]), as_digits(rows["group_id"])]
        yield rows.with_columns(ids).select(list(polars_schema("splits")))


def at_places(kept: pl.DataFrame, places: int) -> pl.Series:
    """(places,) the split of each place; null where it has none."""
    codes = np.full(places, -1, dtype=np.int16)
    codes[kept["place"].to_numpy()] = kept["split"].to_physical().to_numpy()
    found = pl.Series("split", codes)
    return found.set(found < 0, None).cast(pl.UInt8).cat.to(SPLIT)
