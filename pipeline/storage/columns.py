"""Columns of message lists, taken apart and put together by their flat columns.

polars copies a list at a time where rows are gathered; all contents are gathered faster in their flat column.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from ..tables import MESSAGES

_VIEWS = pl.CompatLevel.newest()
_FIELDS: Final = {name: pl.String for name in ("role", "content", "extra")}


def arrow_number(number: float) -> Any:
    """A number as pyarrow computes with it; of a number of Python's it makes one itself, and imports pandas first."""
    return pl.Series([number]).to_arrow()[0]


def message_lists(name: str, rows: Sequence[Sequence[Mapping[str, str]]]) -> pl.Series:
    """(rows,) lists of messages; pyarrow takes them as they are, as fast, but imports pandas first."""
    flat = list(chain.from_iterable(rows))
    messages = pl.DataFrame({field: [message.get(field) for message in flat] for field in _FIELDS}, schema=_FIELDS)
    return _lists(name, messages, pl.Series([0, *accumulate(map(len, rows))], dtype=pl.Int64))


def single_messages(texts: pl.Series, role: str) -> pl.Series:
    """(rows,) lists of one message of `role` with each text."""
    roles = pl.repeat(role, len(texts), dtype=pl.String, eager=True)
    nothing = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    messages = pl.DataFrame([roles.alias("role"), texts.alias("content"), nothing.alias("extra")])
    return _lists(texts.name, messages, pl.int_range(len(texts) + 1, eager=True))


def asked_messages(systems: pl.Series, texts: pl.Series) -> pl.Series:
    """(rows,) lists of a user's message with each text, after one with the system text where there is any.

    Args:
        systems: (rows,) system texts, null where there is none.
        texts: (rows,) texts, none missing.
    """
    given = systems.is_not_null().to_numpy()
    before = int(given.sum())
    if not before:
        return single_messages(texts, "user")
    ends = np.cumsum(1 + given)
    order = np.empty(ends[-1], dtype=np.int64)
    order[ends - 1] = before + np.arange(len(texts))
    order[(ends - 2)[given]] = np.arange(before)
    contents = pl.concat([systems.drop_nulls().rename("content"), texts.rename("content")])
    roles = pl.concat(
        [
            pl.repeat(role, rows, dtype=pl.String, eager=True)
            for role, rows in (("system", before), ("user", len(texts)))
        ]
    )
    nothing = pl.repeat(None, len(order), dtype=pl.String, eager=True)
    messages = pl.DataFrame([roles.gather(order).alias("role"), contents.gather(order), nothing.alias("extra")])
    offsets = pl.concat([pl.Series([0]), pl.Series(1 + given, dtype=pl.Int64).cum_sum()]).rechunk()
    return _lists(texts.name, messages, offsets)


def gathered(lists: pl.Series, rows: np.ndarray) -> pl.Series:
    """The lists at some places.

    Args:
        lists: (n,) message lists, none missing.
        rows: (m,) places in it.

    Returns:
        (m,) lists.
    """
    lengths = lists.list.len().to_numpy().astype(np.int64)
    # An empty list would explode to a row of nothing.
    filled = lists if lengths.all() else lists.filter(pl.Series(lengths > 0))
    messages = filled.explode().struct.unnest()
    chosen = lengths[rows]
    ends = np.cumsum(chosen)
    firsts = (np.cumsum(lengths) - lengths)[rows]
    flat = np.arange(chosen.sum()) + np.repeat(firsts - (ends - chosen), chosen)
    offsets = pl.concat([pl.Series([0]), pl.Series(chosen, dtype=pl.Int64).cum_sum()]).rechunk()
    return _lists(lists.name, messages[flat], offsets)


def gathered_rows(frame: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """The rows at some places of a frame that may have columns of message lists."""
    nested = [name for name, dtype in frame.schema.items() if dtype == MESSAGES]
    plain = frame.drop(nested)[rows]
    return plain.with_columns(gathered(frame[name], rows) for name in nested).select(frame.columns)


def copied_strings(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows, their strings copied: a slice or a filtered part else keeps the memory of all that it is from."""
    copied = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return pl.DataFrame(pl.from_arrow(copied)).cast(frame.schema)


def _lists(name: str, messages: pl.DataFrame, offsets: pl.Series) -> pl.Series:
    """Lists of the messages between each two offsets; nothing is copied."""
    fields = [messages[field].to_arrow(compat_level=_VIEWS) for field in messages.columns]
    # Not numpy's memory: it takes Python's lock to be freed, and polars may hold that while it waits for it.
    lists = pa.LargeListArray.from_arrays(offsets.to_arrow(), pa.StructArray.from_arrays(fields, messages.columns))
    return pl.Series(name, lists, dtype=MESSAGES)
