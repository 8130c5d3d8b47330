"""Prompts to splits: one split for pairs and unpaired rows alike, by group, so that nothing leaks.

A group is a connected component of prompts: equal after loose normalisation, met in one pair, and, as asked, near
duplicates, or sharing a conversation or a user. A prompt that many conversations share does not glue them: it keeps its
oldest ones together (`evidence.meetings`), and its own rows stay in one split. An empty prompt joins nothing. What
crosses for that reason is counted in table `leakage`.

A group is named by its oldest prompt (by the smallest text key where events have no times), and its place under `hash`
depends on that name and the salt alone. So later data moves no group; it can merge two, by a conversation, user or
near-duplicate that touches both, and then the younger one moves to the older one's split. Data that is older than a
group's oldest prompt, or has no time, can rename the group that it joins. Shares are met by the law of large numbers:
many groups, none of them large. A group that is too large for a held-out split is trained on (`evidence.placement`):
as the log grows, it can become one, or cease to be one, and groups near the cut move with it where such groups hold
another eighth of the rows.

Under `time` the groups whose last event is newest are the test, then comes the validation: the shares are those of the
rows, and new data moves the cuts.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import RunConfig, SplitsConfig
from ..context import StageContext, StageResult
from ..errors import InputError
from ..evidence.clusters import Clusters, Partitions, PromptFacts, numbered, prompt_clusters
from ..evidence.leakage import audit, set_keys
from ..evidence.meetings import KEPT
from ..evidence.placed_prompts import prompts_placed, rows_of, splits_table
from ..evidence.placement import is_too_large, off_share, off_shares_line, shares
from ..evidence.split_parts import Gathered, Part, part_of, prompt_facts
from ..identity import as_number
from ..storage.digests import cached_digest
from ..storage.manifests import Counts, value_counts
from ..storage.tables import side_by_side
from ..tables import SPLIT
from ..workers import IN_MEMORY, map_in_threads

VERSION = 3
INPUTS = ("events", "texts", "responses", "unpaired", "pairs")
OUTPUTS = ("splits", "leakage")

# What is looked at of responses, and of rows.
_DATED: Final = ("response_id", "prompt_id", "oldest_event_at", "newest_event_at")
_TEXTED: Final = {
    "unpaired": ("prompt_id", "response_id", "prompt", "completion"),
    "pairs": ("prompt_id", "chosen_response_id", "rejected_response_id", "prompt", "chosen", "rejected"),
}


def transform(
    responses: pl.LazyFrame,
    events: pl.LazyFrame,
    evidence: pl.LazyFrame,
    config: SplitsConfig,
    pairs: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Table `splits` of a whole table of responses; see `prompt_facts` and `assign`."""
    return assign([prompt_facts(responses, events, config, pairs)], evidence, config, pairs).lazy()


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
    across = None if pairs is None else pairs.collect(engine=IN_MEMORY)
    partitions = Partitions.of(map(numbered, parts))
    counted = evidence.group_by(id=as_number(pl.col("prompt_id"))).agg(n_rows=pl.len()).collect(engine=IN_MEMORY)
    found = prompts_placed(_clusters(partitions, config, across), _counts(partitions, counted), config)
    return pl.concat(splits_table([pl.concat(rows_of(partitions, found))]))


def _counts(partitions: Partitions, counted: pl.DataFrame) -> Iterator[npt.NDArray[np.uint32]]:
    """The `n_rows` of each partition's prompts by their `id`."""
    for ids in partitions.each("prompts", "id"):
        rows = ids.join(counted, on="id", how="left", maintain_order="left", validate="m:1")["n_rows"]
        yield rows.fill_null(0).cast(pl.UInt32).to_numpy()


def _clusters(parts: Partitions, config: SplitsConfig, pairs: pl.DataFrame | None) -> Clusters:
    return prompt_clusters(parts, config.near_similarity if config.near_duplicates else None, pairs)


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


def _nothing_to_split(responses: pl.DataFrame) -> InputError:
    """The error where nothing has a label, with the reasons."""
    reasons = value_counts(responses["abstain_reason"].drop_nulls())
    counted = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1]))
    return InputError(
        "splits: no response has a label and no pair could be made, so there is nothing to split "
        f"({responses.height:,} responses{': ' if counted else ''}{counted}). Where votes lie in another column than "
        "the one that was read, state it: --set 'events.options={vote: rating}'; less sure labels take a lower "
        "responses.min_confidence."
    )


def run(context: StageContext) -> StageResult:
    """Read all of `INPUTS` a set of prompts at a time, write `splits` and `leakage`."""
    # Pairs may span prompts.
    across = context.read("pairs", ("prompt_id", "rejected_response_id"))
    with closing(Work(context.config.splits, context.folder, across)) as work:
        for part in map_in_threads(lambda tables: work.made(*tables), _parts(context)):
            work.passed(part)
        return work.result(context)


def _parts(context: StageContext) -> Iterator[tuple[pl.DataFrame, ...]]:
    """Events, responses with their prompts, unpaired rows and pairs, all of the same prompts."""
    met = ("prompt_id", "response_id", "created_at", *KEPT[context.config.splits.group_by])
    return side_by_side(
        [
            context.read_by_prompt("events", met),
            context.read_with_texts("responses", _DATED, ("prompt", "tools")),
            context.read_by_prompt("unpaired", _TEXTED["unpaired"]),
            context.read_by_prompt("pairs", _TEXTED["pairs"]),
        ]
    )


class Work:
    """The stage's work on parts that no prompt crosses, in the order of prompt ids."""

    def __init__(self, config: SplitsConfig, folder: Path, across: pl.DataFrame | None = None) -> None:
        """Begin before the first part.

        Args:
            config: The stage's settings.
            folder: The stage's working folder, where what is kept of each part lies meanwhile.
            across: `prompt_id` and `rejected_response_id` of all pairs; None: no pair spans prompts.
        """
        self._config = config
        self._across = across
        self._gathered = Gathered(config, folder)

    def made(self, events: pl.DataFrame, responses: pl.DataFrame, unpaired: pl.DataFrame, pairs: pl.DataFrame) -> Part:
        """What a part of these tables gives; may be called by several threads. Of responses texts are looked at."""
        return part_of(events, responses, unpaired, pairs, self._config, self._across)

    def passed(self, part: Part) -> None:
        """Keep a part, one after the other."""
        self._gathered.add(part)

    def close(self) -> None:
        """Delete what was kept."""
        self._gathered.close()

    def result(self, context: StageContext) -> StageResult:
        """Write the tables, once the last part has passed."""
        with closing(self):
            return self._result(context)

    def _result(self, context: StageContext) -> StageResult:
        gathered, config = self._gathered, self._config
        if not gathered.n_prompts:
            raise _nothing_to_split(context.read("responses", ("abstain_reason",)))
        parts = gathered.prompts
        clusters = _clusters(parts, config, self._across)
        found = prompts_placed(clusters, (rows.sum_horizontal().to_numpy() for rows in gathered.rows()), config)
        del clusters
        leakage = gathered.leakage(found.splits(), _sets(config))
        written = {"splits": context.write_batches("splits", splits_table(rows_of(parts, found)))}
        return StageResult(
            outputs=written | {"leakage": context.write("leakage", leakage)},
            counts=Counts(rows_in=gathered.n_prompts, rows_out=found.height),
            notes=_notes(_summed(found.splits(), gathered.rows()), found.groups, leakage, config),
        )


def _sets(config: SplitsConfig) -> dict[str, pl.DataFrame]:
    """The keys of the evaluation sets' files."""
    return {
        name: set_keys(name, Path(file), near=config.near_duplicates).collect(engine=IN_MEMORY)
        for name, file in config.evaluation_sets.items()
    }


def leakage_of(keys: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """Table `leakage` from the `leak_keys` of all partitions and the evaluation sets' files."""
    return audit(keys, _sets(config), config.near_similarity)


def notes(
    splits: pl.DataFrame, unpaired: pl.DataFrame, pairs: pl.DataFrame, leakage: pl.DataFrame, config: SplitsConfig
) -> dict[str, Any]:
    """Facts for the report; of unpaired rows and pairs only `prompt_id` is read."""
    counted = splits.with_columns(as_number(pl.col("group_id")))
    for table, name in ((unpaired, "n_unpaired"), (pairs, "n_pairs")):
        counts = table.group_by("prompt_id").agg(pl.len().cast(pl.UInt32).alias(name))
        counted = counted.join(counts, on="prompt_id", how="left", maintain_order="left", validate="1:1")
    rows = counted.select(pl.col("n_unpaired", "n_pairs").fill_null(0))
    with_rows = counted.with_columns(n_rows=rows.sum_horizontal().cast(pl.Int64))
    groups = with_rows.group_by("group_id").agg(pl.col("split").first(), pl.col("n_rows").sum())
    return _notes(_summed(counted["split"], [rows]), groups, leakage, config)


def _summed(splits: pl.Series, rows: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """`n_prompts`, `n_unpaired` and `n_pairs` of each `split`.

    Args:
        splits: The split of each prompt; null where it has none.
        rows: `n_unpaired` and `n_pairs` of prompts, one part of them after the other.
    """
    sums, before = [], 0
    for part in rows:
        own = part.with_columns(splits.slice(before, part.height).alias("split")).filter(pl.col("split").is_not_null())
        before += part.height
        counted = pl.col("n_unpaired", "n_pairs").cast(pl.Int64).sum()
        sums.append(own.group_by("split").agg(pl.len().cast(pl.Int64).alias("n_prompts"), counted))
    return pl.concat(sums).group_by("split").sum()


def _notes(summed: pl.DataFrame, groups: pl.DataFrame, leakage: pl.DataFrame, config: SplitsConfig) -> dict[str, Any]:
    """Facts for the report.

    Args:
        summed: What `_summed` gives.
        groups: `group_id`, `n_rows` and `split` of the groups that have rows.
        leakage: Table `leakage`.
        config: Shares.
    """
    large, line = groups.filter(is_too_large(config)), off_shares_line(groups, config)
    leaked = leakage.filter((pl.col("n_leaked") > 0) & (pl.col("left") == "train"))
    per_split = {row["split"]: row for row in summed.to_dicts()}
    counts = {
        name: {split: per_split.get(split, {}).get(f"n_{name}", 0) for split in SPLIT.categories}
        for name in ("prompts", "unpaired", "pairs")
    }
    return {
        "groups": groups.height,
        **counts,
        "off_share": round(off_share(shares(groups), config), 4),
        "largest_group_rows": int(groups["n_rows"].to_numpy().max()),
        "groups_too_large_to_hold_out": large.height,
        "rows_in_such_groups": int(large["n_rows"].sum()),
        "said": [line] if line else [],
        "leaks_from_train": {
            f"{row['match']} {row['text']} {row['right']}": row["n_leaked"] for row in leaked.to_dicts()
        },
    }
