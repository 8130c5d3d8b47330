"""Prompts that must not be parted, as named groups, from what the partitions of a log say of them.

Everything here is held for all prompts at once: keys are numbers, prompts their places, and a partition's ids are let
go as it is gathered.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from ..errors import InputError
from ..identity import as_number
from ..workers import IN_MEMORY
from .groups import components_of_places, dense
from .meetings import kept_together
from .neighbours import near_links


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
    """What a partition says, or all of them say, with as little memory a prompt as may be: ids and keys are numbers.

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
    place = pl.int_range(pl.len(), dtype=pl.UInt32).alias("place")
    met = meetings.join(prompts.select("id", place), on="id", validate="m:1")
    return NumberedPrompts(
        prompts.with_columns(_as_numbers("id", "text_key")),
        met.select("place", as_number(pl.col("key")), "is_user", "at"),
        signed.with_columns(_as_numbers("id")),
        answers.with_columns(_as_numbers("response_id", "prompt_id")),
    )


def _as_numbers(*columns: str) -> list[pl.Expr]:
    return [as_number(pl.col(name)).alias(name) for name in columns]


def prompt_clusters(
    parts: Iterable[NumberedPrompts], near_similarity: float | None, pairs: pl.DataFrame | None
) -> pl.DataFrame:
    """`prompt_id`, `group_id`, `newest_event_at` of the group and its number, for every prompt in the order of places.

    Ids are numbers of digests; `group` is one without gaps, that means nothing beyond this call.

    Args:
        parts: All partitions; a prompt is in one of them.
        near_similarity: Least similarity of near-duplicates; None: they are not looked for.
        pairs: `prompt_id` and `rejected_response_id` of the pairs, which may span prompts; None: they do not.

    Raises:
        InputError: A pair's answer is in no partition.
    """
    prompts, meetings, signed, answers = _gathered(parts)
    met = [pl.DataFrame(schema={"left": pl.UInt128, "right": pl.UInt128})]
    if near_similarity is not None:
        in_age = prompts.select("id", "oldest_event_at").sort("oldest_event_at", "id", nulls_last=True).select("id")
        signed = in_age.join(signed, on="id", how="left", validate="1:1", maintain_order="left")
        met.append(near_links(signed, near_similarity).select("left", "right"))
    if pairs is not None:
        met.append(_across_prompts(pairs.with_columns(_as_numbers("prompt_id", "rejected_response_id")), answers))
    places = pl.int_range(pl.len(), dtype=pl.UInt32).alias("place")
    links = prompts.select(places, key="text_key")
    text = components_of_places(prompts.height, links, _edges(prompts, pl.concat(met)))
    return _named(prompts, _together(prompts["text_key"], text, meetings))


def _together(text_keys: pl.Series, text: pl.Series, meetings: pl.DataFrame) -> pl.Series:
    """(prompts,) the component of each prompt, once conversations and users are kept together.

    Args:
        text_keys: (prompts,) the key of every prompt's text.
        text: (prompts,) the component of prompts whose texts must not be parted.
        meetings: `place`, `key`, `is_user` and `at`.
    """
    if meetings.is_empty():
        return text
    texts = pl.Series("text", dense(text))
    names = pl.DataFrame([texts, text_keys.alias("name")]).group_by("text").agg(pl.col("name").min()).sort("text")
    met = meetings.select("key", "is_user", "at", text=texts.gather(meetings["place"]))
    return kept_together(names, met).gather(texts).alias("component")


def _gathered(parts: Iterable[NumberedPrompts]) -> NumberedPrompts:
    """All partitions as one."""
    found: list[NumberedPrompts] = []
    before = 0
    for part in parts:
        further = pl.col("place") + pl.lit(before, pl.UInt32)
        found.append(part._replace(meetings=part.meetings.with_columns(further)))
        before += part.prompts.height
    return NumberedPrompts(*(pl.concat(tables) for tables in zip(*found, strict=True)))


def _edges(prompts: pl.DataFrame, met: pl.DataFrame) -> pl.DataFrame:
    """Places of prompts that belong together, given by their ids."""
    # Few prompts are met, and all ids in a table to look them up in would be the largest thing here.
    ids = pl.concat([met["left"], met["right"].alias("left")]).unique()
    places = prompts.select("id").with_row_index("place").filter(pl.col("id").is_in(ids.implode()))
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


def _named(prompts: pl.DataFrame, component: pl.Series) -> pl.DataFrame:
    """`prompt_id`, `group_id`, `newest_event_at` of the group and its number `group`, for every prompt."""
    numbers = dense(component)
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
    return pl.DataFrame(
        {
            "prompt_id": prompts["id"],
            "group_id": both["text_key"].gather(rows),
            "newest_event_at": both["newest_event_at"].gather(rows),
            "group": pl.Series(numbers),
        }
    )
