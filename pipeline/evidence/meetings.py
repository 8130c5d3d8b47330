"""Which conversations and users a shared prompt keeps together, so that a popular one does not glue the log.

A prompt is at home in the oldest conversation that it was met in (and with the oldest user, where users are kept
together): they are never parted. The next ones join them, oldest first, as long as no more than
`MOST_TOGETHER` conversations or users are together; whatever met the prompt later keeps a place of its own. Everything
is decided in the order of time: what comes later moves nothing that was decided before.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl

from ..identity import digest, joined
from ..tables import TIME
from .groups import components_of_edges
from .prompts import with_text

# Small enough that no group is a large share of any log worth splitting, large enough for an answer asked for again.
MOST_TOGETHER: Final = 4
# Meetings that are put in order together.
_SHARE_ROWS: Final = 2_000_000
# What `splits.group_by` keeps together beside prompts.
KEPT: Final = {
    "prompt": (),
    "prompt_and_conversation": ("conversation_id",),
    "prompt_conversation_and_user": ("conversation_id", "user_id"),
}
_NONE: Final = pl.Schema({"id": pl.String(), "key": pl.String(), "is_user": pl.Boolean(), "at": TIME})


def meetings(responses: pl.LazyFrame, events: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """`id`, `key`, `is_user` and `at`: which conversations and users met a prompt that has text, and when first.

    Args:
        responses: Rows of table `responses`: what other answers' events say is not looked at.
        events: Rows of table `events` of the same prompts.
        columns: `conversation_id`, `user_id`, both or none.
    """
    ids = with_text(responses).select("response_id")
    kept = events.join(ids, on="response_id", how="semi")
    met = [
        kept.filter(pl.col(column).is_not_null())
        .group_by("prompt_id", column)
        .agg(at=pl.col("created_at").min())
        .select(
            id="prompt_id",
            key=digest(joined(pl.lit(column), pl.col(column))),
            is_user=pl.lit(column == "user_id"),
            at="at",
        )
        for column in columns
    ]
    return pl.concat(met) if met else _NONE.to_frame().lazy()


def kept_together(names: pl.Series, meetings: pl.DataFrame, nodes: int) -> pl.Series:
    """(texts,) the component of each text: those of a conversation or user, and what shared texts may join.

    Args:
        names: (texts,) a number of each text that is the same however the log was cut; a text's row is its place.
        meetings: `text` (a place), `node` (the rank of a conversation's or a user's key among all of them), `is_user`
            and `at`: when the text was met there, the first time or more often. One without a time is younger than all
            others.
        nodes: How many conversations and users there are.
    """
    texts = len(names)
    home: list[pl.DataFrame] = []
    shared: list[pl.DataFrame] = []
    for ranked in _by_text(meetings, texts):
        rank = _ranks(ranked["text"], ranked["is_user"])
        home.append(ranked.filter(rank == 0).select(left="text", right=pl.col("node") + texts))
        shared.append(ranked.filter((rank > 0) & (rank < MOST_TOGETHER)).select("text", "node", "at"))
    units = _units(texts + nodes, pl.concat(home))
    met = pl.concat(shared)
    edges = met.select(
        left=units.gather(met["text"]),
        right=units.gather(met["node"] + texts),
        at="at",
        name=names.gather(met["text"]),
        key="node",
    )
    return _joined(units, edges.filter(pl.col("left") != pl.col("right"))).head(texts)


def _by_text(meetings: pl.DataFrame, texts: int) -> Iterator[pl.DataFrame]:
    """Each text's meetings once, by kind and age, a range of texts after the other."""
    count = 1 + meetings.height // _SHARE_ROWS
    width = texts // count + 1
    of = meetings.select(pl.col("text") // width).to_series()
    for share in range(count):
        own = meetings.filter(of == share)
        once = own.group_by("text", "node", "is_user").agg(pl.col("at").min())
        yield once.sort(["text", "is_user", "at", "node"], nulls_last=True)


def _units(count: int, home: pl.DataFrame) -> pl.Series:
    """(count,) the unit of each text and each conversation or user: a text is one with those that it is at home in."""
    if home["left"].is_duplicated().any():
        return components_of_edges(count, home)
    # Each is at home in one of them alone, which then names the unit.
    units = np.arange(count, dtype=np.int32)
    units[home["left"].to_numpy()] = home["right"].to_numpy()
    return pl.Series("component", units)


def _ranks(*sorted_keys: pl.Series) -> pl.Series:
    """(rows,) the place of each row among those of its keys, from 0; most have one row, which a window is slow at."""
    places = np.arange(len(sorted_keys[0]))
    first = np.logical_or.reduce([(key != key.shift(1)).fill_null(True).to_numpy() for key in sorted_keys])
    return pl.Series(places - np.maximum.accumulate(np.where(first, places, 0)))


def _joined(units: pl.Series, edges: pl.DataFrame) -> pl.Series:
    """(places,) the component of each place, from its unit and the edges between units."""
    count = len(units)
    whole = components_of_edges(count, edges).to_numpy()
    crowded = np.bincount(whole, minlength=count)[whole] > MOST_TOGETHER
    # Where all that a chain of shared texts joins may be together, no order is needed.
    roots = np.where(crowded, count + np.arange(count), whole)
    in_order = edges.filter(pl.Series(crowded[edges["left"].to_numpy()])).sort("at", "name", "key", nulls_last=True)
    for unit, root in _roots(in_order["left"].to_list(), in_order["right"].to_list()).items():
        roots[unit] = count + root
    return pl.Series("component", roots[units.to_numpy()])


def _roots(left: list[int], right: list[int]) -> dict[int, int]:
    """The root of each unit that an edge touches: edges are taken one after the other, unless too many would join."""
    parents = {unit: unit for unit in (*left, *right)}
    sizes = dict.fromkeys(parents, 1)

    def root(unit: int) -> int:
        while parents[unit] != unit:
            parents[unit] = parents[parents[unit]]
            unit = parents[unit]
        return unit

    for one, other in zip(left, right, strict=True):
        first, second = root(one), root(other)
        if first != second and sizes[first] + sizes[second] <= MOST_TOGETHER:
            parents[second] = first
            sizes[first] += sizes[second]
    return {unit: root(unit) for unit in parents}
