"""Prompts to splits: one split for pairs and unpaired rows alike, by group, so that nothing leaks.

A group is a connected component of prompts that are equal after loose normalisation and, if asked, of prompts
that share a conversation. A group's split depends on a hash of its own name alone: adding data moves no other
group (a group that new data joins to another may move, since the two become one).
"""

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.artifacts import Counts
from pipeline.config import SplitsConfig
from pipeline.context import StageContext, StageResult
from pipeline.errors import InputError
from pipeline.identity import digest, joined, prompt_key
from pipeline.tables import SPLIT, polars_schema

VERSION = 1
INPUTS = ("responses", "unpaired", "pairs")
OUTPUTS = ("splits",)

_HEX_DIGITS = 12


def transform(responses: pl.LazyFrame, evidence: pl.LazyFrame, config: SplitsConfig) -> pl.LazyFrame:
    """Table `splits`, sorted by prompt id.

    Args:
        responses: Table `responses`: every prompt, since an unlabelled answer can still join two conversations.
        evidence: `prompt_id` of the prompts that unpaired rows or pairs stand on; only these get a split.
        config: Shares, grouping and salt.
    """
    links = _links(responses, config).collect()
    grouped = _components(links).lazy()
    kept = grouped.join(evidence.select("prompt_id").unique(), on="prompt_id", how="semi")
    return (
        kept.with_columns(split=_split_of(pl.col("group_id"), config))
        .select(list(polars_schema("splits")))
        .sort("prompt_id")
    )


def _links(responses: pl.LazyFrame, config: SplitsConfig) -> pl.LazyFrame:
    """Edges (prompt_id, key): prompts with a common key belong together."""
    by_text = (
        responses.group_by("prompt_id")
        .agg(pl.col("prompt").first())
        .select("prompt_id", key=digest(joined(pl.lit("text"), prompt_key(pl.col("prompt"), loose=True))))
    )
    if config.group_by == "prompt":
        return by_text
    by_conversation = (
        responses.select("prompt_id", conversation_id="conversation_ids")
        .explode("conversation_id")
        .drop_nulls()
        .select("prompt_id", key=digest(joined(pl.lit("conversation"), pl.col("conversation_id"))))
    )
    return pl.concat([by_text, by_conversation]).unique()


def _components(links: pl.DataFrame) -> pl.DataFrame:
    """`prompt_id` and `group_id`: connected components, each named by its smallest text or conversation key."""
    prompts = links.select(pl.col("prompt_id").unique().sort()).with_row_index("prompt")
    keys = links.select(pl.col("key").unique().sort()).with_row_index("node")
    edges = links.join(prompts, on="prompt_id", validate="m:1").join(keys, on="key", validate="m:1")
    size = prompts.height + keys.height
    matrix = coo_array(
        (np.ones(edges.height, dtype=np.int8), (edges["prompt"].to_numpy(), edges["node"].to_numpy() + prompts.height)),
        shape=(size, size),
    )
    _, component = connected_components(matrix, directed=False)
    names = (
        keys.with_columns(component=pl.Series(component[prompts.height :]))
        .group_by("component")
        .agg(group_id=pl.col("key").min())
    )
    return (
        prompts.with_columns(component=pl.Series(component[: prompts.height]))
        .join(names, on="component", how="left", validate="m:1")
        .select("prompt_id", "group_id")
    )


def _split_of(group_id: pl.Expr, config: SplitsConfig) -> pl.Expr:
    hashed = digest(joined(pl.lit(config.salt), group_id)).str.head(_HEX_DIGITS)
    place = hashed.str.to_integer(base=16) / float(16**_HEX_DIGITS)
    return (
        pl.when(place < config.test)
        .then(pl.lit("test"))
        .when(place < config.test + config.validation)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
        .cast(SPLIT)
    )


def run(context: StageContext) -> StageResult:
    """Read `responses`, `unpaired` and `pairs`, write `splits`."""
    unpaired, pairs = context.read("unpaired"), context.read("pairs")
    evidence = pl.concat([unpaired.select("prompt_id"), pairs.select("prompt_id")])
    if evidence.is_empty():
        raise InputError(
            "splits: no response has a label and no pair could be made, so there is nothing to split. "
            "Look at the reasons in the events and responses stages (`thumbline status`)."
        )
    splits = transform(context.read("responses").lazy(), evidence.lazy(), context.config.splits).collect()
    return StageResult(
        outputs={"splits": context.write("splits", splits)},
        counts=Counts(rows_in=evidence["prompt_id"].n_unique(), rows_out=splits.height),
        notes={
            "groups": splits["group_id"].n_unique(),
            "prompts": _per_split(splits, splits),
            "unpaired": _per_split(unpaired, splits),
            "pairs": _per_split(pairs, splits),
        },
    )


def _per_split(rows: pl.DataFrame, splits: pl.DataFrame) -> dict[str, int]:
    joined_rows = rows.select("prompt_id").join(splits, on="prompt_id", how="inner", validate="m:1")
    counts = dict(joined_rows["split"].cast(pl.String).value_counts().iter_rows())
    return {name: int(counts.get(name, 0)) for name in SPLIT.categories}
