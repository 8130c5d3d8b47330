"""Responses to DPO/ORPO-ready pairs: which response to a prompt is the better one, and how surely.

Pairs come from votes (two responses whose posterior means differ enough) and from explicit comparisons of several
kinds. The soft label `chosen_better_probability` is the posterior probability that chosen really is better: of the two
shares of up votes for votes, of a share of wins above one half for comparisons, a tie being half a win of each side.
What did not become a pair is in `pair_drops`, and what became of every prompt in `pair_yield`, with what would change
it.

`transform` is a function of one set of prompts, or of prompt groups where prompts are grouped: rows of one group are
together.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import PairsConfig, ResponsesConfig
from ..context import StageContext, StageResult
from ..evidence.pair_yield import added_yields, missed_prompts, yield_of
from ..evidence.prompts import loose_keys, prompt_contexts, prompt_groups, prompt_signatures
from ..evidence.sides import CANDIDATE_COLUMNS, LAYOUT, comparison_sides, may_be_paired, vote_sides, with_similarity
from ..identity import as_answer, digest, joined
from ..storage.columns import copied_strings
from ..storage.manifests import Counts, TableRecord, value_counts
from ..tables import PAIR_DROP, TEXTS, polars_schema
from ..workers import IN_MEMORY, map_in_threads

VERSION = 6
INPUTS = ("responses", "comparisons", "texts")
OUTPUTS = ("pairs", "pair_yield", "pair_drops")

# What is looked at of all responses; of some their texts as well.
_OF_ALL: Final = (*CANDIDATE_COLUMNS, "model", "models")
# What `notes` looks at.
_NOTED: Final = {"pairs": ("pair_source",), "pair_drops": ("reason",)}


class Pairs(NamedTuple):
    """The tables that one set of prompts gives.

    Attributes:
        pairs: Table `pairs`, sorted by prompt id and pair id.
        pair_drops: Table `pair_drops`, sorted by prompt id and response ids.
        pair_yield: Table `pair_yield`; those of partitions add up.
    """

    pairs: pl.LazyFrame
    pair_yield: pl.LazyFrame
    pair_drops: pl.LazyFrame


def group_keys(responses: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    """What `groups` needs of one partition of `responses`: ids with keys or signatures, no text."""
    keys = prompt_signatures(responses) if config.group_prompts == "near_duplicate" else loose_keys(responses)
    return keys.join(prompt_contexts(responses), on="id", how="left", validate="m:1")


def groups(parts: list[pl.LazyFrame], config: PairsConfig) -> pl.DataFrame | None:
    """`prompt_id` and `pair_group` of the whole log's prompts; None where prompts are not grouped."""
    if config.group_prompts == "none":
        return None
    return prompt_groups(pl.concat(parts).collect(engine=IN_MEMORY), config.group_prompts, config.group_similarity)


def transform(
    responses: pl.LazyFrame,
    comparisons: pl.LazyFrame,
    config: PairsConfig,
    prior: ResponsesConfig,
    known: pl.DataFrame | None = None,
) -> Pairs:
    """Pairs of two responses to one prompt, and what became of every prompt.

    Args:
        responses: Table `responses` with its texts.
        comparisons: Table `comparisons` of the same prompts.
        config: Strategies and thresholds.
        prior: The Beta prior that the responses' posteriors were made with.
        known: What `groups` gave for the whole log; None: every prompt is a group of its own, or, where prompts are to
            be grouped, `responses` are the whole log.
    """
    if known is None:
        known = groups([group_keys(responses, config)], config)
    placed = _placed(responses, known)
    # Made once for all three tables: polars would make it for each.
    sides = _one_a_pair(_sides(placed, comparisons, config, prior)).collect(engine=IN_MEMORY).lazy()
    unmarked = pl.col("reason").is_null()
    pairs = _with_texts(sides.filter(unmarked), responses).with_columns(**_weight(config))
    drops = with_similarity(sides.filter(~unmarked), responses).select(list(polars_schema("pair_drops")))
    return Pairs(
        pairs.select(*polars_schema("pairs"), *_weight(config)).sort("prompt_id", "pair_id"),
        yield_of(placed, sides, config),
        drops.sort("prompt_id", "chosen_response_id", "rejected_response_id", "pair_source"),
    )


def _weight(config: PairsConfig) -> dict[str, pl.Expr]:
    """The column `weight` as set; nothing where all pairs count alike."""
    weights = {
        "none": {},
        "margin": {"weight": pl.col("margin")},
        # A chosen side that is no surer than a coin's is worth nothing, and never less.
        "confidence": {"weight": (2 * pl.col("chosen_better_probability") - 1).clip(lower_bound=0.0)},
    }
    return weights[config.weights]


def _placed(responses: pl.LazyFrame, known: pl.DataFrame | None) -> pl.LazyFrame:
    """Responses with the group of prompts that they can be paired in."""
    if known is None:
        return responses.with_columns(pair_group=pl.col("prompt_id"))
    return responses.join(known.lazy(), on="prompt_id", how="left", validate="m:1")


def _sides(
    placed: pl.LazyFrame, comparisons: pl.LazyFrame, config: PairsConfig, prior: ResponsesConfig
) -> pl.LazyFrame:
    kinds = []
    # Of most logs there are none, and polars takes its time for the plan of no rows.
    if config.comparisons and comparisons.limit(1).collect(engine=IN_MEMORY).height:
        kinds.append(comparison_sides(placed, comparisons, config))
    if config.votes:
        kinds.append(vote_sides(placed, config, prior))
    # Neither asked for, or there: every prompt still gets its outcome.
    return pl.concat(kinds) if kinds else vote_sides(placed, config, prior).filter(pl.lit(False)).select(LAYOUT)


def _one_a_pair(sides: pl.LazyFrame) -> pl.LazyFrame:
    """Each two answers once unmarked, in one direction: a comparison before votes, since it is direct; the surest.

    The others are marked: another source has said more of the same two answers.
    """
    two = [pl.min_horizontal(*_ENDS), pl.max_horizontal(*_ENDS)]
    ranked = sides.with_columns(
        first=two[0], second=two[1], direct=pl.col("pair_source") != "votes", marked=pl.col("reason").is_not_null()
    ).sort(
        ["first", "second", "marked", "direct", "chosen_better_probability", "pair_source"],
        descending=[False, False, False, True, True, False],
    )
    later = pl.int_range(pl.len()).over("first", "second", "marked") > 0
    other = pl.when(later).then(pl.lit("other_source", PAIR_DROP))
    return ranked.with_columns(reason=pl.coalesce("reason", other)).select(LAYOUT)


_ENDS: Final = ("chosen_response_id", "rejected_response_id")


def _with_texts(sides: pl.LazyFrame, responses: pl.LazyFrame) -> pl.LazyFrame:
    """Sides with the texts of both answers under the chosen one's prompt."""
    ids = pl.concat([sides.select(response_id=end) for end in _ENDS])
    answer = as_answer(pl.col("completion"), pl.col("completion_extra"))
    # Few of all texts: these first.
    texts = responses.join(ids, on="response_id", how="semi").select("response_id", "prompt", "tools", answer=answer)
    chosen = texts.select("prompt", "tools", chosen_response_id="response_id", chosen="answer")
    rejected = texts.select(rejected_response_id="response_id", rejected="answer")
    return (
        sides.join(chosen, on="chosen_response_id", how="left", validate="m:1")
        .join(rejected, on="rejected_response_id", how="left", validate="m:1")
        .with_columns(pair_id=digest(joined(pl.col("chosen_response_id"), pl.col("rejected_response_id"))))
    )


def run(context: StageContext) -> StageResult:
    """Read `responses` with texts and `comparisons` a set of prompts at a time, write all of `OUTPUTS`."""
    work = Work(context.config.pairs, context.config.responses)
    made = map(work.passed, map_in_threads(lambda part: work.made(*part), _parts(context)))
    outputs = context.write_parts(chain(made, work.last()), OUTPUTS)
    return work.result(context, outputs)


class Work:
    """The stage's work on parts of `responses` and `comparisons` that no prompt, or no prompt group, crosses."""

    def __init__(self, config: PairsConfig, prior: ResponsesConfig) -> None:
        """Begin before the first part; the settings are those of `transform`."""
        self._config = config
        self._prior = prior
        self._counted: list[pl.DataFrame] = []

    def made(self, responses: pl.DataFrame, comparisons: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """The tables that a part gives; may be called by several threads."""
        lazy = transform(responses.lazy(), comparisons.lazy(), self._config, self._prior)
        return dict(zip(Pairs._fields, pl.collect_all(list(lazy), engine=IN_MEMORY), strict=True))

    def narrowed(self, responses: pl.DataFrame) -> pl.DataFrame:
        """Some answers to a prompt, none of which is compared, with those texts alone that `made` may look at.

        Of all answers to it, put together, `made` gives what it gives of the responses.

        Args:
            responses: Rows of table `responses` with their texts.
        """
        placed = _placed(responses.lazy(), None)
        ids = may_be_paired(placed, self._config).collect(engine=IN_MEMORY)["response_id"]
        wanted = responses["response_id"].is_in(ids.implode())
        texts = copied_strings(responses.filter(wanted).select("response_id", *TEXTS))
        narrow = copied_strings(responses.select(_OF_ALL))
        return narrow.join(texts, on="response_id", how="left", maintain_order="left", validate="1:1")

    def passed(self, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """The tables of each part without what became of its prompts, which is counted, one part after the other."""
        self._counted.append(tables.pop("pair_yield"))
        return tables

    def last(self) -> Iterator[dict[str, pl.DataFrame]]:
        """One part: the table that takes all parts, after the last."""
        yield {"pair_yield": added_yields(self._counted)}

    def result(self, context: StageContext, outputs: Mapping[str, TableRecord]) -> StageResult:
        """What the stage says, once all tables are written."""
        pair_yield = added_yields(self._counted)
        paired = int(pair_yield.filter(pl.col("outcome") == "paired")["n_prompts"].sum())
        prompts = int(pair_yield["n_prompts"].sum())
        noted = {table: context.written(table, columns) for table, columns in _NOTED.items()}
        return StageResult(
            outputs=outputs,
            counts=Counts(
                rows_in=prompts, rows_out=paired, rejected=prompts - paired, made={"pairs": outputs["pairs"].rows}
            ),
            notes={**notes(noted, self._config), "unpaired_prompts": missed_prompts(pair_yield)},
        )


def _parts(context: StageContext) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Responses and comparisons of the same prompts; all at once where pairs may cross prompts."""
    if context.config.pairs.group_prompts != "none":
        yield pl.concat(context.read_with_texts("responses")), context.read("comparisons")
        return
    for responses in context.read_with_texts("responses"):
        if responses.is_empty():
            yield responses, polars_schema("comparisons").to_frame()
            continue
        first, last = pl.lit(responses["prompt_id"][0]), pl.lit(responses["prompt_id"][-1])
        yield responses, context.read("comparisons", where=pl.col("prompt_id").is_between(first, last))


def notes(made: dict[str, pl.DataFrame], config: PairsConfig) -> dict[str, Any]:
    """Facts for the report, from the columns of the stage's tables that are in `_NOTED`."""
    return {
        "pairs": made["pairs"].height,
        "rows_are": "prompts" if config.group_prompts == "none" else "prompt groups",
        "pair_sources": value_counts(made["pairs"]["pair_source"]),
        "pair_drops": value_counts(made["pair_drops"]["reason"]),
    }
