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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ..config import RunConfig, SplitsConfig
from ..context import StageContext, StageResult
from ..errors import InputError
from ..evidence.clusters import NumberedPrompts, PromptFacts, numbered, prompt_clusters
from ..evidence.leakage import audit, leak_keys, meeting_keys, met_keys, set_keys, text_keys
from ..evidence.meetings import KEPT, meetings
from ..evidence.placement import is_too_large, off_share, off_shares_line, placed, shares
from ..evidence.prompts import loose_keys, prompt_signatures
from ..storage.digests import cached_digest
from ..storage.manifests import Counts, value_counts
from ..tables import SPLIT, polars_schema
from ..workers import IN_MEMORY, map_in_threads

VERSION = 3
INPUTS = ("events", "responses", "unpaired", "pairs")
OUTPUTS = ("splits", "leakage")


def prompt_facts(
    responses: pl.LazyFrame, events: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None = None
) -> PromptFacts:
    """The narrow tables of one partition of `responses`.

    Args:
        responses: Rows of table `responses`.
        events: Rows of table `events` of the same prompts: who met them, and when.
        config: Grouping.
        pairs: `rejected_response_id` of all pairs; None: no pair spans prompts.
    """
    times = responses.group_by("prompt_id").agg(pl.col("oldest_event_at").min(), pl.col("newest_event_at").max())
    prompts = loose_keys(responses).join(times, left_on="id", right_on="prompt_id", how="left", validate="1:1")
    signed = prompt_signatures(responses) if config.near_duplicates else pl.LazyFrame(schema=["id", "signature"])
    answers = responses.select("response_id", "prompt_id")
    if pairs is None:
        answers = answers.head(0)
    else:
        answers = answers.join(pairs, left_on="response_id", right_on="rejected_response_id", how="semi")
    return PromptFacts(
        prompts.rename({"key": "text_key"}), meetings(responses, events, KEPT[config.group_by]), signed, answers
    )


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
    return _assigned(map(numbered, parts), evidence, config, pairs)


def _assigned(
    parts: Iterable[NumberedPrompts], evidence: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None
) -> pl.DataFrame:
    near = config.near_similarity if config.near_duplicates else None
    grouped = prompt_clusters(parts, near, None if pairs is None else pairs.collect(engine=IN_MEMORY))
    rows = evidence.group_by("prompt_id").agg(n_rows=pl.len().cast(pl.Int64)).collect(engine=IN_MEMORY)
    kept = grouped.join(rows, on="prompt_id", how="inner", validate="1:1")
    kept = kept.with_columns(pl.col("group_id").bin.encode("hex"))
    if config.method == "time" and kept["newest_event_at"].null_count() == kept.height:
        raise InputError(
            "splits.method is time, but no event of a labelled or paired prompt has a time: map the log's time field "
            "in events.options, or set splits.method to hash."
        )
    groups = kept.group_by("group_id").agg(pl.col("newest_event_at").first(), pl.col("n_rows").sum())
    found = kept.join(placed(groups, config), on="group_id", how="left", validate="m:1")
    return found.select(list(polars_schema("splits"))).sort("prompt_id")


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
    """Read `responses`, `unpaired` and `pairs`, write `splits` and `leakage`."""
    config = context.config.splits
    rows = _rows(context)
    parts = map_in_threads(partial(_numbered, config=config, pairs=rows.pairs), _parts(context))
    splits = _assigned(parts, rows.evidence.lazy(), config, rows.pairs.lazy())
    return _written(context, rows, splits, _leak_keys(context, splits, config))


class _Rows(NamedTuple):
    """The narrow columns of all unpaired rows and pairs; `evidence` is the prompt of each."""

    unpaired: pl.DataFrame
    pairs: pl.DataFrame
    evidence: pl.DataFrame


def _rows(context: StageContext) -> _Rows:
    unpaired = context.read("unpaired", ("prompt_id",))
    pairs = context.read("pairs", ("prompt_id", "rejected_response_id"))
    evidence = pl.concat([unpaired.select("prompt_id"), pairs.select("prompt_id")])
    if evidence.is_empty():
        raise _nothing_to_split(context.read("responses", ("abstain_reason",)))
    return _Rows(unpaired, pairs, evidence)


def _written(context: StageContext, rows: _Rows, splits: pl.DataFrame, keys: pl.DataFrame) -> StageResult:
    config = context.config.splits
    leakage = leakage_of(keys, config)
    return StageResult(
        outputs={"splits": context.write("splits", splits), "leakage": context.write("leakage", leakage)},
        counts=Counts(rows_in=rows.evidence["prompt_id"].n_unique(), rows_out=splits.height),
        notes=notes(splits, rows.unpaired, rows.pairs, leakage, config),
    )


class Part(NamedTuple):
    """What the stage keeps of a part, without texts.

    Attributes:
        prompts: What the assignment needs.
        keys: `text_keys` and `meeting_keys`, with `place` for `prompt_id`: the prompt's among the part's prompts that
            have a row, in the order of their ids.
        n_prompts: How many of them there are.
    """

    prompts: NumberedPrompts
    keys: pl.DataFrame
    n_prompts: int


class Work:
    """The stage's work on parts that no prompt crosses, in the order of prompt ids, where the other tables are made.

    No pair may span prompts.
    """

    def __init__(self, config: SplitsConfig) -> None:
        """Begin before the first part."""
        self._config = config
        self._columns = KEPT[config.group_by]
        self._prompts: list[NumberedPrompts] = []
        self._keys: list[pl.DataFrame] = []
        self._before = 0

    def made(self, events: pl.DataFrame, responses: pl.DataFrame, unpaired: pl.DataFrame, pairs: pl.DataFrame) -> Part:
        """What a part of these tables gives; may be called by several threads."""
        met = events.select("prompt_id", "response_id", "created_at", *self._columns)
        prompts = _numbered((responses, met), self._config, pairs)
        with_rows = pl.concat([unpaired["prompt_id"], pairs["prompt_id"]]).unique().sort()
        places = with_rows.to_frame().with_row_index("place")
        texts = text_keys(unpaired.lazy(), pairs.lazy(), near=self._config.near_duplicates).collect(engine=IN_MEMORY)
        keys = [texts, *([meeting_keys(events, self._columns)] if self._columns else [])]
        placed = pl.concat(keys, how="diagonal").join(places, on="prompt_id", how="inner", validate="m:1")
        return Part(prompts, placed.drop("prompt_id"), len(with_rows))

    def passed(self, part: Part) -> None:
        """Keep a part, one after the other."""
        self._prompts.append(part.prompts)
        self._keys.append(part.keys.with_columns(pl.col("place") + pl.lit(self._before, pl.UInt32)))
        self._before += part.n_prompts

    def result(self, context: StageContext) -> StageResult:
        """Write the tables, once the stages before have written theirs."""
        rows = _rows(context)
        splits = _assigned(self._prompts, rows.evidence.lazy(), self._config, rows.pairs.lazy())
        # Every prompt that has a row has a split, and both are in the order of prompt ids.
        keys = pl.concat(self._keys).with_columns(owner=pl.lit(splits["split"]).gather(pl.col("place")))
        return _written(context, rows, splits, keys.drop("place"))


def _parts(context: StageContext) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Responses without their answers, and who met the same prompts."""
    without_answers = [name for name in polars_schema("responses").names() if not name.startswith("completion")]
    columns = KEPT[context.config.splits.group_by]
    met = ("prompt_id", "response_id", "created_at", *columns)
    for responses in context.read_by_prompt("responses", without_answers):
        if not columns or responses.is_empty():
            yield responses, polars_schema("events").to_frame().select(met)
            continue
        first, last = pl.lit(responses["prompt_id"][0]), pl.lit(responses["prompt_id"][-1])
        yield responses, context.read("events", met, where=pl.col("prompt_id").is_between(first, last))


def _numbered(part: tuple[pl.DataFrame, pl.DataFrame], config: SplitsConfig, pairs: pl.DataFrame) -> NumberedPrompts:
    responses, events = (table.lazy() for table in part)
    return numbered(prompt_facts(responses, events, config, pairs.lazy()))


def _leak_keys(context: StageContext, splits: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """`leak_keys` of all unpaired rows and pairs, a part of a table at a time."""
    tables = ("unpaired", "pairs")
    nothing = {table: polars_schema(table).to_frame().lazy() for table in tables}

    def keyed(rows: tuple[str, pl.DataFrame]) -> pl.DataFrame:
        table, part = rows
        of_part = _of_prompts(splits, part["prompt_id"]).lazy()
        keys = leak_keys(**(nothing | {table: part.lazy()}), splits=of_part, near=config.near_duplicates)
        return keys.collect(engine=IN_MEMORY)

    def met(part: pl.DataFrame) -> pl.DataFrame:
        return met_keys(part, _of_prompts(splits, part["prompt_id"]), columns)

    columns = KEPT[config.group_by]
    parts = ((table, part) for table in tables for part in context.read_parts(table))
    keys = list(map_in_threads(keyed, parts))
    if columns:
        keys += map_in_threads(met, context.read_parts("events", ("prompt_id", *columns)))
    return pl.concat(keys, how="diagonal")


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
    groups = (
        rows.join(splits, on="prompt_id", how="inner", validate="m:1")
        .group_by("group_id")
        .agg(pl.col("split").first(), n_rows=pl.len())
    )
    large, line = groups.filter(is_too_large(config)), off_shares_line(groups, config)
    leaked = leakage.filter((pl.col("n_leaked") > 0) & (pl.col("left") == "train"))
    return {
        "groups": splits["group_id"].n_unique(),
        "prompts": _per_split(splits, splits),
        "unpaired": _per_split(unpaired, splits),
        "pairs": _per_split(pairs, splits),
        "off_share": round(off_share(shares(groups), config), 4),
        "largest_group_rows": int(groups["n_rows"].to_numpy().max()),
        "groups_too_large_to_hold_out": large.height,
        "rows_in_such_groups": int(large["n_rows"].sum()),
        "said": [line] if line else [],
        "leaks_from_train": {
            f"{row['match']} {row['text']} {row['right']}": row["n_leaked"] for row in leaked.to_dicts()
        },
    }


def _per_split(rows: pl.DataFrame, splits: pl.DataFrame) -> dict[str, int]:
    joined_rows = rows.select("prompt_id").join(splits, on="prompt_id", how="inner", validate="m:1")
    counts = dict(joined_rows["split"].cast(pl.String).value_counts().iter_rows())
    return {name: int(counts.get(name, 0)) for name in SPLIT.categories}
