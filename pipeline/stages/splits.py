"""Prompts to splits: one split for pairs and unpaired rows alike, by group, so that nothing leaks.

A group is a connected component of prompts: equal after loose normalisation, met in one pair, and, as asked, near
duplicates, or sharing a conversation or a user. A group is named by its oldest prompt (by the smallest text key where
events have no times), and its place under `hash` depends on that name and the salt alone. So later data moves no
group; it can merge two, by a conversation, user or near-duplicate that touches both, and then the younger one moves to
the older one's split. Data that is older than a group's oldest prompt, or has no time, can rename the group that it
joins. Shares are met by the law of large numbers: many groups, none of them large.

Under `time` the groups whose last event is newest are the test, then comes the validation: the shares are those of the
rows, and new data moves the cuts.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from ..config import RunConfig, SplitsConfig
from ..context import StageContext, StageResult
from ..errors import InputError
from ..evidence.clusters import PromptFacts, prompt_clusters
from ..evidence.leakage import audit, leak_keys, set_keys
from ..evidence.prompts import loose_keys, prompt_signatures
from ..identity import digest, joined
from ..storage.digests import cached_digest
from ..storage.manifests import Counts
from ..tables import SPLIT, polars_schema
from ..workers import IN_MEMORY, map_in_threads

VERSION = 2
INPUTS = ("responses", "unpaired", "pairs")
OUTPUTS = ("splits", "leakage")

_HEX_DIGITS: Final = 12


def prompt_facts(responses: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None = None) -> PromptFacts:
    """The narrow tables of one partition of `responses`.

    Args:
        responses: Rows of table `responses`.
        config: Grouping.
        pairs: `rejected_response_id` of all pairs; None: no pair spans prompts.
    """
    times = responses.group_by("prompt_id").agg(pl.col("oldest_event_at").min(), pl.col("newest_event_at").max())
    prompts = loose_keys(responses).join(times, left_on="id", right_on="prompt_id", how="left", validate="1:1")
    links = [pl.LazyFrame(schema={"id": pl.String, "key": pl.String})]
    if config.group_by != "prompt":
        links.append(_shared(responses, "conversation_ids"))
    if config.group_by == "prompt_conversation_and_user":
        links.append(_shared(responses, "user_ids"))
    signed = prompt_signatures(responses) if config.near_duplicates else pl.LazyFrame(schema=["id", "signature"])
    answers = responses.select("response_id", "prompt_id")
    if pairs is None:
        answers = answers.head(0)
    else:
        answers = answers.join(pairs, left_on="response_id", right_on="rejected_response_id", how="semi")
    return PromptFacts(prompts.rename({"key": "text_key"}), pl.concat(links), signed, answers)


def _shared(responses: pl.LazyFrame, column: str) -> pl.LazyFrame:
    exploded = responses.select("prompt_id", value=column).explode("value").drop_nulls().unique()
    return exploded.select(id="prompt_id", key=digest(joined(pl.lit(column), pl.col("value"))))


def transform(
    responses: pl.LazyFrame, evidence: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Table `splits` of a whole table of responses; see `assign`."""
    return assign([prompt_facts(responses, config, pairs)], evidence, config, pairs).lazy()


def assign(
    parts: Iterable[PromptFacts], evidence: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Table `splits`, sorted by prompt id.

    Args:
        parts: `prompt_facts` of all partitions of the table `responses` with the same pairs, in any order: every
            prompt, since an unlabelled answer can still join two conversations.
        evidence: `prompt_id` of every unpaired row and every pair, repeats included; only these prompts get a split.
        config: Method, shares, grouping and salt.
        pairs: `prompt_id` and `rejected_response_id` of the pairs, which may span prompts; None: they do not.

    Raises:
        InputError: The split is by time, and no event has one; or a pair's answer is in no partition.
    """
    near = config.near_similarity if config.near_duplicates else None
    grouped = prompt_clusters(parts, near, None if pairs is None else pairs.collect(engine=IN_MEMORY))
    rows = evidence.group_by("prompt_id").agg(n_rows=pl.len().cast(pl.Int64)).collect(engine=IN_MEMORY)
    kept = grouped.join(rows, on="prompt_id", how="inner", validate="1:1")
    kept = kept.with_columns(pl.col("group_id").bin.encode("hex"))
    placed = _by_time(kept, config) if config.method == "time" else kept.with_columns(split=_by_hash(config))
    return placed.select(list(polars_schema("splits"))).sort("prompt_id")


def _by_hash(config: SplitsConfig) -> pl.Expr:
    hashed = digest(joined(pl.lit(config.salt), pl.col("group_id"))).str.head(_HEX_DIGITS)
    return _cut(hashed.str.to_integer(base=16) / float(16**_HEX_DIGITS), config)


def _by_time(kept: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """Groups by their last event, the newest first; one without a time is older than all others."""
    if kept["newest_event_at"].null_count() == kept.height:
        raise InputError(
            "splits.method is time, but no event of a labelled or paired prompt has a time: map the log's time field "
            "in events.options, or set splits.method to hash."
        )
    groups = kept.group_by("group_id").agg(pl.col("newest_event_at").first(), pl.col("n_rows").sum())
    newest_first = groups.sort(["newest_event_at", "group_id"], descending=[True, False], nulls_last=True)
    # A group lies where its middle row lies: the shares are off by half a group at most.
    middle = pl.col("n_rows").cum_sum() - pl.col("n_rows") / 2.0
    splits = newest_first.select("group_id", split=_cut(middle / pl.col("n_rows").sum(), config))
    return kept.join(splits, on="group_id", how="left", validate="m:1")


def _cut(place: pl.Expr, config: SplitsConfig) -> pl.Expr:
    return (
        pl.when(place < config.test)
        .then(pl.lit("test"))
        .when(place < config.test + config.validation)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
        .cast(SPLIT)
    )


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the evaluation sets.

    Raises:
        InputError: A file is missing.
    """
    digests = {}
    for name, file in config.splits.evaluation_sets.items():
        if not Path(file).is_file():
            raise InputError(f"splits.evaluation_sets.{name}: {file}: no such file.")
        digests[f"evaluation_sets.{name}"] = cached_digest(Path(file))
    return digests


def run(context: StageContext) -> StageResult:
    """Read `responses`, `unpaired` and `pairs`, write `splits` and `leakage`."""
    config = context.config.splits
    unpaired = context.read("unpaired", ("prompt_id",))
    pairs = context.read("pairs", ("prompt_id", "rejected_response_id"))
    evidence = pl.concat([unpaired.select("prompt_id"), pairs.select("prompt_id")])
    if evidence.is_empty():
        raise InputError(
            "splits: no response has a label and no pair could be made, so there is nothing to split. "
            "Look at the reasons in the events and responses stages (`thumbline status`)."
        )
    without_answers = [name for name in polars_schema("responses").names() if name != "completion"]
    responses = context.read_by_prompt("responses", without_answers)
    parts = map_in_threads(partial(_prompt_facts, config=config, pairs=pairs), responses)
    splits = assign(parts, evidence.lazy(), config, pairs.lazy())
    leakage = leakage_of(_leak_keys(context, splits, config), config)
    return StageResult(
        outputs={"splits": context.write("splits", splits), "leakage": context.write("leakage", leakage)},
        counts=Counts(rows_in=evidence["prompt_id"].n_unique(), rows_out=splits.height),
        notes=notes(splits, unpaired, pairs, leakage, config),
    )


def _prompt_facts(part: pl.DataFrame, config: SplitsConfig, pairs: pl.DataFrame) -> PromptFacts:
    tables = pl.collect_all(list(prompt_facts(part.lazy(), config, pairs.lazy())), engine=IN_MEMORY)
    return PromptFacts(*(table.lazy() for table in tables))


def _leak_keys(context: StageContext, splits: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """`leak_keys` of all unpaired rows and pairs, a part of a table at a time."""
    tables = ("unpaired", "pairs")
    nothing = {table: polars_schema(table).to_frame().lazy() for table in tables}

    def keyed(rows: tuple[str, pl.DataFrame]) -> pl.DataFrame:
        table, part = rows
        of_part = _of_prompts(splits, part["prompt_id"]).lazy()
        keys = leak_keys(**(nothing | {table: part.lazy()}), splits=of_part, near=config.near_duplicates)
        return keys.collect(engine=IN_MEMORY)

    parts = ((table, part) for table in tables for part in context.read_parts(table))
    return pl.concat(map_in_threads(keyed, parts))


def _of_prompts(splits: pl.DataFrame, prompt_ids: pl.Series) -> pl.DataFrame:
    """The rows from the first to the last prompt of a part; both are sorted."""
    if prompt_ids.is_empty():
        return splits.clear()
    ids = splits["prompt_id"]
    start, stop = ids.search_sorted(prompt_ids[0], "left"), ids.search_sorted(prompt_ids[-1], "right")
    return splits.slice(start, stop - start)


def leakage_of(keys: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """Table `leakage` from the `leak_keys` of all partitions and the evaluation sets' files."""
    near = config.near_duplicates
    sets = {
        name: set_keys(name, Path(file), near=near).collect(engine=IN_MEMORY)
        for name, file in config.evaluation_sets.items()
    }
    return audit(keys, sets, config.near_similarity)


def notes(
    splits: pl.DataFrame, unpaired: pl.DataFrame, pairs: pl.DataFrame, leakage: pl.DataFrame, config: SplitsConfig
) -> dict[str, Any]:
    """Facts for the report; of unpaired rows and pairs only `prompt_id` is read."""
    rows = pl.concat([unpaired.select("prompt_id"), pairs.select("prompt_id")])
    per_group = rows.join(splits, on="prompt_id", how="inner", validate="m:1").group_by("group_id").len()
    per_split = _per_split(rows, splits)
    asked = {"test": config.test, "validation": config.validation}
    shares = {name: per_split[name] / rows.height for name in asked}
    leaked = leakage.filter((pl.col("n_leaked") > 0) & (pl.col("left") == "train"))
    return {
        "groups": splits["group_id"].n_unique(),
        "prompts": _per_split(splits, splits),
        "unpaired": _per_split(unpaired, splits),
        "pairs": _per_split(pairs, splits),
        "off_share": round(max(abs(shares[name] - asked[name]) for name in asked), 4),
        "largest_group_rows": int(per_group["len"].to_numpy().max()),
        "leaks_from_train": {
            f"{row['match']} {row['text']} {row['right']}": row["n_leaked"] for row in leaked.to_dicts()
        },
    }


def _per_split(rows: pl.DataFrame, splits: pl.DataFrame) -> dict[str, int]:
    joined_rows = rows.select("prompt_id").join(splits, on="prompt_id", how="inner", validate="m:1")
    counts = dict(joined_rows["split"].cast(pl.String).value_counts().iter_rows())
    return {name: int(counts.get(name, 0)) for name in SPLIT.categories}
