"""Prompts that must not be parted, as named groups, from what the partitions of a log say of them.

Everything here is held for all prompts at once: keys are numbers, prompts their places, and a partition's ids are let
go as it is gathered.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl

from ..errors import InputError
from ..identity import as_number
from ..workers import IN_MEMORY
from .groups import components_of_places, dense, ranks_of_keys
from .meetings import kept_together
from .neighbours import near_links

_PLACE: Final = pl.int_range(pl.len(), dtype=pl.UInt32).alias("place")
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
    """What all partitions say, a column at a time: all of it at once would be the largest thing of a run."""

    def __init__(self, read: Callable[[str], Iterator[pl.DataFrame]], heights: Sequence[int]) -> None:
        """Take where the tables are.

        Args:
            read: Gives a table of `NumberedPrompts` of each partition, in their order, each time that it is called.
            heights: How many prompts each partition has.
        """
        self._read = read
        self._heights = heights

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

    def columns(self, table: str, *names: str) -> pl.DataFrame:
        """Columns of a table of all partitions; a place counts over all of them."""
        before = accumulate(self._heights, initial=0)
        return pl.concat(
            frame.select(pl.col(name) + pl.lit(start, pl.UInt32) if name == "place" else pl.col(name) for name in names)
            for frame, start in zip(self._read(table), before, strict=False)
        )


def prompt_clusters(parts: Partitions, near_similarity: float | None, pairs: pl.DataFrame | None) -> pl.DataFrame:
    """`prompt_id`, `group_id`, `newest_event_at` of the group and its number, for every prompt in the order of places.

    Ids are numbers of digests; `group` is one without gaps, that means nothing beyond this call.

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
    return _named(parts, _components(parts, edges))


def _components(parts: Partitions, edges: pl.DataFrame) -> pl.Series:
    """(prompts,) the component of each prompt: by their texts and edges first, then by conversations and users."""
    keys = parts.columns("prompts", "text_key")
    text = components_of_places(parts.height, keys.select(_PLACE, key="text_key"), edges)
    texts = pl.Series("text", dense(text))
    names = keys.select(name="text_key").with_columns(texts)
    if edges.is_empty():
        # Those of one component have one key, which its first place has too.
        names = names.filter(pl.Series(text.to_numpy() == np.arange(len(text))))
    else:
        names = names.group_by("text").agg(pl.col("name").min()).sort("text")
    # Before anything else of the meetings is in memory: their keys are the most of it.
    nodes, count = ranks_of_keys(parts.columns("meetings", "key")["key"])
    if not count:
        return text
    meetings = parts.columns("meetings", "place", "is_user", "at")
    met = meetings.select("is_user", "at", text=texts.gather(meetings["place"]), node=pl.Series(nodes))
    return kept_together(names["name"], met, count).gather(texts).alias("component")


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


def _named(parts: Partitions, component: pl.Series) -> pl.DataFrame:
    """`prompt_id`, `group_id`, `newest_event_at` of the group and its number `group`, for every prompt."""
    numbers = dense(component)
    prompts = parts.columns("prompts", "text_key", "oldest_event_at", "newest_event_at")
    is_alone = np.bincount(numbers)[numbers] == 1
    # A prompt without others names its group itself; most are alone.
    others = prompts.with_columns(group=pl.Series(numbers)).filter(~is_alone)
    groups = (
        others.sort("oldest_event_at", "text_key", nulls_last=True)
        .group_by("group", maintain_order=True)
        .agg(pl.col("text_key").first(), pl.col("newest_event_at").max())
    )
    # Where each prompt's group stands: its own row, or a row after all prompts.
    rows = np.arange(prompts.height, dtype=np.int64)
    of_groups = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    of_groups[groups["group"].to_numpy()] = prompts.height + np.arange(groups.height)
    rows[~is_alone] = of_groups[numbers[~is_alone]]
    both = pl.concat([prompts.select("text_key", "newest_event_at"), groups.drop("group")])
    named = pl.DataFrame([both["text_key"].gather(rows).alias("group_id"), both["newest_event_at"].gather(rows)])
    ids = parts.columns("prompts", "id").rename({"id": "prompt_id"})
    return ids.hstack(named).with_columns(group=pl.Series(numbers))
