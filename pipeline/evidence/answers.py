"""Events to answers: one row a response, with what all of its events say together; and its texts.

Rows are sorted by their ids first, which they mostly are: then the events of a response stand together, every group
is a range of rows, and texts are copied once, by place, instead of being hashed and aggregated.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from ..storage.columns import gathered, gathered_rows
from ..tables import TEXTS, polars_schema
from .comparisons import SIDES

_ORDER: Final = ("prompt_id", "response_id", "event_id")
FIRST_TEXTS: Final = (*_ORDER, *TEXTS)
_COUNTED: Final[dict[str, Sequence[str]]] = {
    "n_copied": ["copied"],
    "n_regenerated": ["regenerated"],
    "n_compared": SIDES,
    "n_tied": ["tied"],
    "n_both_bad": ["both_bad"],
}


def answer_texts(events: pl.DataFrame) -> pl.DataFrame:
    """Table `texts` of all events of some prompts, sorted by prompt_id and response_id.

    Spellings that are the same text share the one of the smallest event id.

    Args:
        events: Named events with their texts, in any order.
    """
    return with_one_prompt_each(first_texts(events).sort("prompt_id", "response_id"))


def first_texts(events: pl.DataFrame) -> pl.DataFrame:
    """The texts of each answer's event of the smallest id, columns `FIRST_TEXTS`, in any order.

    What it gives of parts of some events, put together, gives what the events give.

    Args:
        events: Named events with their texts, in any order.
    """
    found = events.select(FIRST_TEXTS)
    if found["response_id"].n_unique() == found.height:
        return found
    places = (
        found.select("response_id", "event_id")
        .with_row_index("place")
        .group_by("response_id")
        .agg(pl.col("place").get(pl.col("event_id").arg_min()))
    )
    return gathered_rows(found, places["place"].to_numpy())


def with_one_prompt_each(texts: pl.DataFrame) -> pl.DataFrame:
    """Table `texts`: answers to one prompt share its spelling in the event of the smallest id.

    Args:
        texts: What `first_texts` gives of all events of some prompts, sorted by prompt_id and response_id.
    """
    prompts = gathered(texts["prompt"], _prompt_rows(texts))
    return texts.with_columns(prompts).select(list(polars_schema("texts")))


def with_prompt(texts: pl.DataFrame, spelled: pl.DataFrame) -> pl.DataFrame:
    """As `with_one_prompt_each`, of some answers to one prompt.

    Args:
        texts: What `first_texts` gives of some answers, sorted by response_id.
        spelled: The row of all its answers' texts that has the smallest event id.
    """
    prompts = gathered(spelled["prompt"], np.zeros(texts.height, dtype=np.int64))
    return texts.with_columns(prompts).select(list(polars_schema("texts")))


def answers(events: pl.DataFrame) -> pl.DataFrame:
    """One row a response, sorted by prompt_id and response_id.

    Args:
        events: Named events; their texts are not looked at.

    Returns:
        `prompt_id`, `response_id`, `model` (the first by name), `models`, `conversation_ids`, `user_ids` (each sorted),
        `oldest_event_at`, `newest_event_at`, `n_events` and the counts of `_COUNTED`.
    """
    ordered = _sorted(events)
    first = _starts(ordered["response_id"])
    group = _groups(first, ordered.height)
    counts = _counts(ordered, group)
    several = (counts["n_events"] > 1).gather(group)
    lists = {
        name: _distinct(ordered[column], group, several, counts.height)
        for name, column in (("models", "model"), ("conversation_ids", "conversation_id"), ("user_ids", "user_id"))
    }
    return ordered.select("prompt_id", "response_id")[first].with_columns(
        **lists,
        model=lists["models"].list.first(),
        **{name: counts[name] for name in counts.columns if name != "group"},
    )


def _sorted(events: pl.DataFrame) -> pl.DataFrame:
    keys = events.select(pl.concat_str(_ORDER, separator=" ")).to_series()
    return events if keys.is_sorted() else events.sort(_ORDER)


def _starts(ids: pl.Series) -> np.ndarray:
    """Row of each first of equal neighbours."""
    return (ids != ids.shift(1)).fill_null(True).arg_true().to_numpy()


def _groups(starts: np.ndarray, rows: int) -> pl.Series:
    """(rows,) number of the group that each row is in."""
    sizes = np.diff(np.append(starts, rows))
    return pl.Series("group", np.repeat(np.arange(len(starts), dtype=np.uint32), sizes))


def _counts(ordered: pl.DataFrame, group: pl.Series) -> pl.DataFrame:
    vote = pl.col("vote")
    counted = [vote.is_in(members).sum().cast(pl.Int64).alias(name) for name, members in _COUNTED.items()]
    return (
        ordered.select("vote", "created_at", group)
        .group_by("group")
        .agg(
            pl.col("created_at").min().alias("oldest_event_at"),
            pl.col("created_at").max().alias("newest_event_at"),
            pl.len().cast(pl.Int64).alias("n_events"),
            *counted,
        )
        .sort("group")
    )


def _prompt_rows(texts: pl.DataFrame) -> np.ndarray:
    """(responses,) the row whose spelling of the prompt is taken: the one of the prompt's smallest event id."""
    starts = _starts(texts["prompt_id"])
    group = _groups(starts, texts.height).to_numpy()
    smallest = starts.copy()
    several = np.bincount(group, minlength=len(starts))[group] > 1
    rows = np.flatnonzero(several)
    ranked = rows[texts["event_id"].gather(rows).arg_sort(descending=True).to_numpy()]
    # Where places repeat, numpy keeps what is written last: the smallest id.
    smallest[group[ranked]] = ranked
    return np.asarray(smallest[group])


def _distinct(values: pl.Series, group: pl.Series, several: pl.Series, count: int) -> pl.Series:
    """List column: the different values of each group, sorted, without nulls.

    Args:
        values: (rows,) texts.
        group: (rows,) their groups, ascending.
        several: (rows,) whether the group has another row: only those have to be looked at together.
        count: How many groups there are.
    """
    rows = pl.DataFrame([group, values.alias("value"), several.alias("several")]).drop_nulls("value")
    alone = rows.filter(~pl.col("several"))
    together = rows.filter("several").unique(["group", "value"]).sort("group", "value")
    found = pl.concat([alone, together]).sort("group", maintain_order=True)
    sizes = np.bincount(found["group"].to_numpy(), minlength=count)
    # Memory of polars' own: numpy's takes Python's lock to be freed, and polars may hold that while it waits for it.
    offsets = pl.concat([pl.Series([0]), pl.Series(sizes, dtype=pl.Int64).cum_sum()]).rechunk().to_arrow()
    texts = found["value"].to_arrow(compat_level=pl.CompatLevel.oldest())
    return pl.Series(pa.LargeListArray.from_arrays(offsets, texts), dtype=pl.List(pl.String))
