"""Prompts that must not be parted, as named groups, from what the partitions of a log say of them.

What is held for all prompts at once is few numbers each: prompts are their places, keys are looked at a share or a
partition at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError
from ..identity import as_number, halves_of, of_halves
from ..tables import TIME
from ..workers import IN_MEMORY
from .groups import components_of_edges, dense, first_places
from .meetings import kept_together
from .neighbours import near_links

_PLACE: Final = pl.int_range(pl.len(), dtype=pl.UInt32).alias("place")
# After all times, and after all keys.
_NO_TIME: Final = int(np.iinfo(np.int64).max)
_LAST_KEY: Final = int(np.iinfo(np.uint64).max)
_NO_EDGES: Final = pl.Schema({"left": pl.UInt32(), "right": pl.UInt32()})


class PromptFacts(NamedTuple):
    """What the assignment needs of one partition of `responses`: no text.

    Attributes:
        prompts: `id`, `text_key`, `oldest_event_at`, `newest_event_at`.
        meetings: `id`, `key`, `is_user` and `at`: the conversations and users that met a prompt, and when first.
        signatures: `id` and `signature`, empty unless near-duplicates are kept together.
        answers: `response_id` and `prompt_id` of the answers that a pair may take from another prompt.
    """

    prompts: pl.LazyFrame
    meetings: pl.LazyFrame
    signatures: pl.LazyFrame
    answers: pl.LazyFrame


class NumberedPrompts(NamedTuple):
    """What a partition says, with as little memory a prompt as may be: ids and keys are numbers.

    Attributes:
        prompts: `id`, `text_key`, `oldest_event_at`, `newest_event_at`; a prompt's place is its row, and prompts with a
            common key belong together.
        meetings: As `PromptFacts` has them, with `place` for `id`.
        signatures: As `PromptFacts` has them.
        answers: As `PromptFacts` has them.
    """

    prompts: pl.DataFrame
    meetings: pl.DataFrame
    signatures: pl.DataFrame
    answers: pl.DataFrame


def numbered(part: PromptFacts) -> NumberedPrompts:
    """One partition with numbers for ids and keys; its places begin at 0."""
    # Strings that are kept would keep the texts that lay beside them, however few they are.
    prompts, meetings, signed, answers = pl.collect_all(list(part), engine=IN_MEMORY)
    met = meetings.join(prompts.select("id", _PLACE), on="id", validate="m:1")
    return NumberedPrompts(
        prompts.with_columns(_as_numbers("id", "text_key")),
        met.select("place", as_number(pl.col("key")), "is_user", "at"),
        signed.with_columns(_as_numbers("id")),
        answers.with_columns(_as_numbers("response_id", "prompt_id")),
    )


def _as_numbers(*columns: str) -> list[pl.Expr]:
    return [as_number(pl.col(name)).alias(name) for name in columns]


class Partitions:
    """What all partitions say, one after the other: all of it at once would be the largest thing of a run."""

    def __init__(
        self, read: Callable[[str], Iterator[pl.DataFrame]], heights: Sequence[int], folder: Path | None = None
    ) -> None:
        """Take where the tables are.

        Args:
            read: Gives a table of `NumberedPrompts` of each partition, in their order, each time that it is called.
            heights: How many prompts each partition has.
            folder: Where more may lie meanwhile; None: nowhere.
        """
        self._read = read
        self._heights = heights
        self.folder = folder

    @classmethod
    def of(cls, parts: Iterable[NumberedPrompts]) -> Self:
        """Partitions that are in memory."""
        held = list(parts)

        def read(table: str) -> Iterator[pl.DataFrame]:
            return (getattr(part, table) for part in held)

        return cls(read, [part.prompts.height for part in held])

    @property
    def height(self) -> int:
        """How many prompts there are: a prompt is in one partition."""
        return sum(self._heights)

    def places(self) -> Iterator[slice]:
        """The places of each partition's prompts."""
        before = 0
        for height in self._heights:
            yield slice(before, before + height)
            before += height

    def each(self, table: str, *names: str) -> Iterator[pl.DataFrame]:
        """Columns of a table, a partition after the other; a place counts over all of them."""
        for frame, places in zip(self._read(table), self.places(), strict=True):
            yield frame.select(
                pl.col(name) + pl.lit(places.start, pl.UInt32) if name == "place" else pl.col(name) for name in names
            )

    def columns(self, table: str, *names: str) -> pl.DataFrame:
        """As `each`, of all partitions at once."""
        return pl.concat(self.each(table, *names))


class Clusters(NamedTuple):
    """Prompts in groups.

    Attributes:
        groups: (prompts,) the group of each prompt, from 0 without gaps, in the order of places.
        names: `group_id` and `newest_event_at` of each group.
    """

    groups: npt.NDArray[np.int32]
    names: pl.DataFrame


def prompt_clusters(parts: Partitions, near_similarity: float | None, pairs: pl.DataFrame | None) -> Clusters:
    """Every prompt with its group; ids are numbers of digests, a group's own number means nothing beyond this call.

    Args:
        parts: All partitions.
        near_similarity: Least similarity of near-duplicates; None: they are not looked for.
        pairs: `prompt_id` and `rejected_response_id` of the pairs, which may span prompts; None: they do not.

    Raises:
        InputError: A pair's answer is in no partition.
    """
    met = []
    if near_similarity is not None:
        in_age = parts.columns("prompts", "id", "oldest_event_at").sort("oldest_event_at", "id", nulls_last=True)
        signed = parts.columns("signatures", "id", "signature")
        signed = in_age.select("id").join(signed, on="id", how="left", validate="1:1", maintain_order="left")
        met.append(near_links(signed, near_similarity).select("left", "right"))
    if pairs is not None:
        answers = parts.columns("answers", "response_id", "prompt_id")
        met.append(_across_prompts(pairs.with_columns(_as_numbers("prompt_id", "rejected_response_id")), answers))
    edges = _edges(parts, pl.concat(met)) if met else _NO_EDGES.to_frame()
    groups = dense(_components(parts, edges))
    return Clusters(groups, _names(parts, groups))


def _components(parts: Partitions, edges: pl.DataFrame) -> npt.NDArray[np.int32]:
    """(prompts,) the component of each prompt: by their texts and edges first, then by conversations and users."""
    texts = first_places(_column(parts, "prompts", "text_key"), parts.height, parts.folder)
    if not edges.is_empty():
        own = np.flatnonzero(texts != np.arange(len(texts)))
        alike = pl.DataFrame({"left": own, "right": texts[own]}).cast(pl.UInt32)
        texts = components_of_edges(len(texts), pl.concat([alike, edges])).to_numpy()
    # Before anything else of the meetings is in memory: their keys are the most of it.
    met = sum(map(len, _column(parts, "meetings", "key")))
    if not met:
        return texts
    nodes = dense(first_places(_column(parts, "meetings", "key"), met, parts.folder))
    return kept_together(
        texts, _met(parts, texts, nodes), int(nodes.max()) + 1, lambda some: _names_of(parts, texts, some)
    )


def _column(parts: Partitions, table: str, name: str) -> Iterator[pl.Series]:
    return (frame[name] for frame in parts.each(table, name))


def _met(parts: Partitions, texts: npt.NDArray[np.int32], nodes: npt.NDArray[np.int32]) -> Iterator[pl.DataFrame]:
    """The meetings of each partition as `kept_together` takes them."""
    before = 0
    for frame in parts.each("meetings", "place", "key", "is_user", "at"):
        own = nodes[before : before + frame.height]
        before += frame.height
        text = pl.Series("text", texts[frame["place"].to_numpy()])
        yield frame.drop("place").with_columns(text, pl.Series("node", own))


def _names_of(parts: Partitions, texts: npt.NDArray[np.int32], some: npt.NDArray[np.int32]) -> pl.Series:
    """The smallest key of each of some texts, which are in order."""
    is_wanted = np.zeros(len(texts), dtype=bool)
    is_wanted[some] = True
    found = [pl.DataFrame(schema={"text": pl.Int32, "text_key": pl.UInt128})]
    for places, frame in zip(parts.places(), parts.each("prompts", "text_key"), strict=True):
        own = texts[places]
        found.append(frame.select(pl.Series("text", own), "text_key").filter(pl.Series(is_wanted[own])))
    return pl.concat(found).group_by("text").agg(pl.col("text_key").min()).sort("text")["text_key"]


def _edges(parts: Partitions, met: pl.DataFrame) -> pl.DataFrame:
    """Places of prompts that belong together, given by their ids."""
    # Few prompts are met, and all ids in a table to look them up in would be the largest thing here.
    ids = pl.concat([met["left"], met["right"].alias("left")]).unique()
    places = parts.columns("prompts", "id").with_row_index("place").filter(pl.col("id").is_in(ids.implode()))
    for end in ("left", "right"):
        met = met.join(places.rename({"id": end, "place": f"{end}_place"}), on=end, validate="m:1")
    return met.select(left="left_place", right="right_place")


def _across_prompts(pairs: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """`left` and `right`: the prompts that one pair takes its two answers from, where they are two."""
    other = answers.rename({"prompt_id": "other_id"})
    met = pairs.select("prompt_id", "rejected_response_id").join(
        other, left_on="rejected_response_id", right_on="response_id", how="inner", validate="m:1"
    )
    if met.height < pairs.height:
        raise InputError(
            f"splits: {pairs.height - met.height} of {pairs.height} pairs reject an answer that is not in table "
            f"responses, so prompts that belong together could be parted. Run the stages from responses on again."
        )
    return met.filter(pl.col("prompt_id") != pl.col("other_id")).select(left="prompt_id", right="other_id")


def _names(parts: Partitions, groups: npt.NDArray[np.int32]) -> pl.DataFrame:
    """`group_id` and `newest_event_at` of each group: a group is named by its oldest prompt."""
    count = int(groups.max(initial=-1)) + 1
    oldest, newest = np.full(count, _NO_TIME, dtype=np.int64), np.full(count, -_NO_TIME, dtype=np.int64)
    high, low = (np.full(count, _LAST_KEY, dtype=np.uint64) for _ in range(2))
    columns = ("text_key", "oldest_event_at", "newest_event_at")
    for places, frame in zip(parts.places(), parts.each("prompts", *columns), strict=True):
        named = frame.with_columns(group=pl.Series(groups[places])).sort("oldest_event_at", "text_key", nulls_last=True)
        first = named.group_by("group", maintain_order=True).agg(
            pl.col("text_key", "oldest_event_at").first(), pl.col("newest_event_at").max()
        )
        own = first["group"].to_numpy()
        times = first["oldest_event_at"].to_physical().fill_null(_NO_TIME).to_numpy()
        upper, lower = halves_of(first["text_key"])
        is_before = (upper < high[own]) | ((upper == high[own]) & (lower < low[own]))
        is_first = (times < oldest[own]) | ((times == oldest[own]) & is_before)
        chosen = own[is_first]
        oldest[chosen], high[chosen], low[chosen] = times[is_first], upper[is_first], lower[is_first]
        newest[own] = np.maximum(newest[own], first["newest_event_at"].to_physical().fill_null(-_NO_TIME).to_numpy())
    del oldest
    dated = pl.Series("newest_event_at", newest)
    return pl.DataFrame([of_halves(high, low).alias("group_id"), dated.set(dated == -_NO_TIME, None).cast(TIME)])
