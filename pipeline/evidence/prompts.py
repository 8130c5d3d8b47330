"""Which prompts belong together: equal up to case and punctuation, or nearly the same.

Keys and signatures are made prompt by prompt, where the texts are; groups are made once, from ids and keys.
"""

from typing import Literal

import polars as pl

from ..identity import digest, joined, prompt_context, prompt_key
from .groups import components
from .neighbours import near_links, signatures

Grouping = Literal["normalised", "near_duplicate"]


def _prompts(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.group_by("prompt_id").agg(pl.col("prompt", "tools").first())


def loose_keys(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`id` and `key` of each prompt of `rows`: prompts equal after loose normalisation have one key."""
    key = digest(joined(pl.lit("text"), prompt_key(pl.col("prompt"), loose=True)))
    return _prompts(rows).select(id="prompt_id", key=key)


def with_text(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows whose prompt says anything at all, be it a call of a tool."""
    message = pl.element().struct
    says = (message.field("content").str.strip_chars() != "") | message.field("extra").is_not_null()
    return rows.filter(pl.col("prompt").list.eval(says).list.any())


def prompt_signatures(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`id` and `signature` of each prompt of `rows`: MinHash of its messages' contents."""
    text = pl.col("prompt").list.eval(pl.element().struct.field("content")).list.join("\n")
    return signatures(_prompts(rows).select(id="prompt_id", text=text))


def prompt_contexts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`id` and `context` of each prompt of `rows`: prompts of one context have the same tools and extras."""
    return _prompts(rows).select(id="prompt_id", context=digest(prompt_context(pl.col("prompt"), pl.col("tools"))))


def links_as_keys(links: pl.DataFrame) -> pl.DataFrame:
    """Links between two ids as `id` and `key`, the left id being the key that both share."""
    ends = [links.select(id="left", key="left"), links.select(id="right", key="left")]
    return pl.concat(ends).unique().with_columns(key=pl.concat_str(pl.lit("near:"), "key"))


def prompt_groups(narrow: pl.DataFrame, grouping: Grouping, similarity: float) -> pl.DataFrame:
    """`prompt_id` and `pair_group` of every prompt; a group is named by its smallest prompt id.

    Prompts of one group have one context: an answer that calls a tool answers no prompt without that tool.

    Args:
        narrow: What `loose_keys` (normalised) or `prompt_signatures` (near_duplicate) gave for all partitions, with
            `context` of `prompt_contexts`.
        grouping: Which of the two.
        similarity: For near-duplicates, the least estimated Jaccard similarity.
    """
    ids = narrow.select("id").unique()
    keys = narrow if grouping == "normalised" else links_as_keys(near_links(narrow.unique("id").sort("id"), similarity))
    own = ids.select("id", key=pl.concat_str(pl.lit("own:"), "id"))
    found = components(pl.concat([keys.select("id", "key"), own]))
    found = found.join(narrow.select("id", "context").unique("id"), on="id", how="left", validate="1:1")
    return found.select(prompt_id="id", pair_group=pl.col("id").min().over("component", "context"))
