"""Which conversations and users a shared prompt keeps together, so that a popular one does not glue the log.

A prompt is at home in the oldest conversation that it was met in (and with the oldest user, where users are kept
together): they are never parted. The next ones join them, oldest first, as long as no more than
`MOST_TOGETHER` conversations or users are together; whatever met the prompt later keeps a place of its own. Everything
is decided in the order of time: what comes later moves nothing that was decided before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
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


def kept_together(
    texts: npt.NDArray[np.int32],
    meetings: Iterable[pl.DataFrame],
    nodes: int,
    names: Callable[[npt.NDArray[np.int32]], pl.Series],
) -> npt.NDArray[np.int32]:
    """(places,) the component of each place: those of a conversation or user, and what shared texts may join.

    Args:
        texts: (places,) the text of each place: the first place that has it.
        meetings: Of one set of places after the other: `text`, `key` (of a conversation or a user), `node` (the key's
            number among all of them), `is_user` and `at`: when the text was met there, the first time or more often.
            One without a time is younger than all others.
        nodes: How many conversations and users there are.
        names: Gives a number of each of some texts that is the same however the log was cut.
    """
    homes = _Homes(len(texts))
    shared: list[pl.DataFrame] = []
    for ranked in _by_text(meetings, texts):
        rank = _ranks(ranked["text"], ranked["is_user"])
        homes.add(ranked.filter(rank == 0))
        shared.append(ranked.filter((rank > 0) & (rank < MOST_TOGETHER)).select("text", "node", "at", "key"))
    units = homes.units(nodes)
    del homes
    met = pl.concat(shared)
    edges = met.with_columns(
        left=pl.Series(units[met["text"].to_numpy()]), right=pl.Series(units[met["node"].to_numpy() + len(texts)])
    ).filter(pl.col("left") != pl.col("right"))
    chosen = np.unique(edges["text"].to_numpy()).astype(np.int32)
    named = pl.DataFrame([pl.Series("text", chosen, dtype=met.schema["text"]), names(chosen).alias("name")])
    return _roots_of(len(units), edges.join(named, on="text", validate="m:1"))[units[texts]]


def _by_text(meetings: Iterable[pl.DataFrame], texts: npt.NDArray[np.int32]) -> Iterator[pl.DataFrame]:
    """Each text's meetings once, by kind and age, a set of texts after the other."""
    again = texts != np.arange(len(texts), dtype=texts.dtype)
    has_places = np.zeros(len(texts), dtype=bool)
    has_places[texts[again]] = True
    # Of a text that several places have, parts that are not read yet may have more.
    held: list[pl.DataFrame] = []
    for part in meetings:
        is_held = pl.Series(has_places[part["text"].to_numpy()])
        held.append(part.filter(is_held))
        yield _in_order(part.filter(~is_held))
    rest = pl.concat(held)
    count = 1 + rest.height // _SHARE_ROWS
    width = len(texts) // count + 1
    of = rest.select(pl.col("text") // width).to_series()
    yield from (_in_order(rest.filter(of == share)) for share in range(count))


def _in_order(meetings: pl.DataFrame) -> pl.DataFrame:
    once = meetings.group_by("text", "node", "is_user").agg(pl.col("at").min(), pl.col("key").first())
    return once.sort(["text", "is_user", "at", "key"], nulls_last=True)


class _Homes:
    """The conversation and the user that each text is at home in."""

    def __init__(self, texts: int) -> None:
        self._texts = texts
        self._nodes: dict[bool, npt.NDArray[np.int32]] = {}

    def add(self, homes: pl.DataFrame) -> None:
        """Take each text's first row of each kind."""
        for kind, own in homes.partition_by("is_user", as_dict=True).items():
            nodes = self._nodes.setdefault(bool(kind[0]), np.full(self._texts, -1, dtype=np.int32))
            nodes[own["text"].to_numpy()] = own["node"].to_numpy()

    def units(self, nodes: int) -> npt.NDArray[np.int32]:
        """(texts + nodes,) the unit of each text and each node: a text is one with those that it is at home in."""
        count = self._texts + nodes
        units = np.arange(count, dtype=np.int32)
        of_nodes = units[self._texts :]
        if len(self._nodes) > 1:
            first, second = self._nodes.values()
            both = (first >= 0) & (second >= 0)
            edges = pl.DataFrame({"left": first[both], "right": second[both]})
            of_nodes = components_of_edges(nodes, edges).to_numpy() + np.int32(self._texts)
            units[self._texts :] = of_nodes
        for homes in self._nodes.values():
            is_at_home = homes >= 0
            units[: self._texts][is_at_home] = of_nodes[homes[is_at_home]]
        return units


def _ranks(*sorted_keys: pl.Series) -> pl.Series:
    """(rows,) the place of each row among those of its keys, from 0; most have one row, which a window is slow at."""
    places = np.arange(len(sorted_keys[0]))
    first = np.logical_or.reduce([(key != key.shift(1)).fill_null(True).to_numpy() for key in sorted_keys])
    return pl.Series(places - np.maximum.accumulate(np.where(first, places, 0)))


def _roots_of(units: int, edges: pl.DataFrame) -> npt.NDArray[np.int32]:
    """(units,) the component of each unit, from the edges between them."""
    roots = components_of_edges(units, edges).to_numpy().copy()
    touched = np.unique(np.concatenate([edges["left"].to_numpy(), edges["right"].to_numpy()]))
    _, whole, sizes = np.unique(roots[touched], return_inverse=True, return_counts=True)
    # Where all that a chain of shared texts joins may be together, no order is needed.
    crowded = touched[sizes[whole] > MOST_TOGETHER]
    roots[crowded] = crowded
    in_order = edges.filter(pl.Series(np.isin(edges["left"].to_numpy(), crowded)))
    in_order = in_order.sort("at", "name", "key", nulls_last=True)
    for unit, root in _roots(in_order["left"].to_list(), in_order["right"].to_list()).items():
        roots[unit] = root
    return roots


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
