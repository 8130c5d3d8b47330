"""Events to responses: who voted last and how, counted per (prompt, completion), and what the votes say.

A user has one vote a response, the last one given; a retraction removes it. An event without a user id is a
voter of its own. Votes weigh 1, or what their rater's reliability and their age make of them. The share of users who
would vote up gets a Beta posterior of the weighed votes; the label is desirable or undesirable where the posterior is
sure enough, else the stage abstains and says why.

`transform` is a function of one set of prompts: run on partitions by prompt it gives the rows that it gives on the
whole table. What takes the whole log (raters, positions, the newest time) is made by `shared` from narrow tables.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import ResponsesConfig
from ..context import StageContext, StageResult
from ..evidence import exposure
from ..evidence.answers import answer_texts, answers
from ..evidence.comparisons import (
    COUNTED,
    check_counted,
    comparison_drops,
    comparison_lines,
    counted_comparisons,
    judgements,
)
from ..evidence.contradictions import contradictions
from ..evidence.labels import labelled, with_posterior
from ..evidence.raters import NARROW, RaterVotes, rater_contradictions
from ..evidence.screening import screened
from ..evidence.votes import counted, last_votes, named, recency, weighed
from ..storage.manifests import Counts, TableRecord, value_counts
from ..storage.tables import side_by_side
from ..storage.texts import with_texts, without_texts
from ..tables import TEXTS, TIME, polars_schema
from ..workers import IN_MEMORY, map_in_threads

VERSION = 6
INPUTS = ("events", "texts")
OUTPUTS = ("responses", "comparisons", "comparison_drops", "raters", "contradictions", "response_drops")

# What `notes` looks at: no text and no ids.
_NOTED: Final = {
    "responses": ("label", "abstain_reason", "exposure_weight"),
    "comparisons": ("kind", *COUNTED),
    "comparison_drops": ("reason",),
    "raters": ("weight",),
    "contradictions": ("kind",),
    "response_drops": ("reason",),
}
# What a part's last votes are called beside its tables.
_VOTES: Final = "votes"
_COUNTS: Final = ("n_up", "n_down", "n_retracted", "up_evidence", "down_evidence")


class LogFacts(NamedTuple):
    """What the whole-log part of the stage needs of one partition: no text.

    Attributes:
        votes: Last votes, columns `evidence.raters.NARROW`.
        positions: `position`, `n_shown` and `n_rated`.
        newest: One row, `created_at`: the newest event's time.
    """

    votes: pl.LazyFrame
    positions: pl.LazyFrame
    newest: pl.LazyFrame


class Shared(NamedTuple):
    """What every partition is given.

    Attributes:
        raters: Table `raters`.
        positions: `position` and `place_propensity`.
        newest: Time of the newest event, which recency is counted from; None: no event has a time.
    """

    raters: pl.DataFrame
    positions: pl.DataFrame
    newest: datetime | None


# Where no row needs the whole log.
_NOTHING_KNOWN: Final = Shared(
    pl.DataFrame(schema={"user_id": pl.String, "weight": pl.Float64}),
    pl.DataFrame(schema={"position": pl.Int64, "place_propensity": pl.Float64}),
    None,
)


class Responses(NamedTuple):
    """The tables that one set of prompts gives, each sorted by prompt id and then by its own ids.

    `responses` hold their texts, for whoever goes on with them.
    """

    responses: pl.LazyFrame
    comparisons: pl.LazyFrame
    comparison_drops: pl.LazyFrame
    contradictions: pl.LazyFrame
    response_drops: pl.LazyFrame


def log_facts(events: pl.LazyFrame) -> LogFacts:
    """The narrow tables of one partition of `events`."""
    votes = last_votes(named(events)).select(list(NARROW))
    newest = events.select(pl.col("created_at").max())
    return LogFacts(votes, exposure.position_counts(events), newest)


def shared(parts: Iterable[LogFacts], config: ResponsesConfig) -> Shared:
    """What takes the whole log, from the narrow tables of all partitions in any order, one after the other."""
    raters = RaterVotes(config)
    positions: list[pl.DataFrame] = []
    newest: list[pl.DataFrame] = []
    for part in parts:
        votes, counts, latest = pl.collect_all(list(part), engine=IN_MEMORY)
        raters.add(votes)
        positions.append(counts)
        newest.append(latest)
    last = pl.concat(newest)["created_at"].cast(TIME).max()
    assert last is None or isinstance(last, datetime)
    return Shared(raters.table(), exposure.position_propensities(pl.concat(positions)), last)


def transform(events: pl.LazyFrame, config: ResponsesConfig, known: Shared | None = None) -> Responses:
    """Responses with counted votes and labels, and what else the events of these prompts say.

    Args:
        events: Rows of table `events` with their texts; rows of one prompt are together.
        config: Prior, confidence, weights and screens.
        known: What the whole log gave; None: `events` are the whole log.
    """
    with_ids = named(events).collect(engine=IN_MEMORY)
    found = shared([log_facts(with_ids.lazy())], config) if known is None else known
    return _transformed(without_texts(with_ids), answer_texts(with_ids), config, found).tables


class _Transformed(NamedTuple):
    """What one set of prompts gives: tables, and its last votes, columns `evidence.raters.NARROW`."""

    tables: Responses
    votes: pl.DataFrame


def _transformed(events: pl.DataFrame, texts: pl.DataFrame, config: ResponsesConfig, known: Shared) -> _Transformed:
    """What events without texts and the texts of their answers give, both of the same prompts."""
    found = with_texts(answers(events), texts, "responses")
    looked_at = screened(found.lazy(), config).collect(engine=IN_MEMORY)
    kept = looked_at.filter(pl.col("drop_reason").is_null())
    voted = weighed(last_votes(events.lazy()), known.raters.lazy(), known.newest, config.half_life_days)
    votes = voted.collect(engine=IN_MEMORY)
    said = judgements(events.lazy(), kept.lazy()).collect(engine=IN_MEMORY)
    evident = _with_evidence(kept, events, votes, known, config)
    judged = labelled(with_posterior(evident, config), config).collect(engine=IN_MEMORY)
    # Texts come back at the end, row beside row: whatever looks at votes need not carry them along.
    responses = judged.hstack(kept.select(TEXTS)).select(list(polars_schema("responses", optional=True)))
    tables = Responses(
        responses.lazy(),
        counted_comparisons(said.lazy()),
        comparison_drops(said.lazy()),
        contradictions(votes.lazy(), said.lazy()),
        _drops(looked_at.lazy()),
    )
    return _Transformed(tables, votes.select(NARROW))


def _with_evidence(
    kept: pl.DataFrame, events: pl.DataFrame, votes: pl.DataFrame, known: Shared, config: ResponsesConfig
) -> pl.LazyFrame:
    """The kept responses without their texts, in their order, with votes, exposure and recency."""
    weights = exposure.exposure_weights(events.lazy(), known.positions.lazy(), config.exposure, config.exposure_clip)
    joined = kept.drop(TEXTS).lazy()
    for table in (counted(votes.lazy()), weights):
        joined = joined.join(table, on="response_id", how="left", validate="1:1", maintain_order="left")
    return joined.with_columns(
        pl.col(_COUNTS).fill_null(0),
        recency_weight=recency(pl.col("voted_at"), known.newest, config.half_life_days),
    )


def _drops(texts: pl.LazyFrame) -> pl.LazyFrame:
    dropped = texts.filter(pl.col("drop_reason").is_not_null())
    return dropped.select("response_id", "prompt_id", "n_events", reason="drop_reason", detail="drop_detail").sort(
        "prompt_id", "response_id"
    )


def run(context: StageContext) -> StageResult:
    """Read `events` and `texts` a set of prompts at a time, write all of `OUTPUTS`."""
    config = context.config.responses
    known = None
    if needs_log_first(config):
        known = shared((log_facts(part.lazy()) for part in context.read_by_prompt("events")), config)
    work = Work(config, known)
    parts = side_by_side([context.read_by_prompt(table) for table in INPUTS])
    made = map(work.passed, map_in_threads(lambda part: work.made(*part), parts))
    outputs = context.write_parts(chain(made, work.last()), OUTPUTS)
    return work.result(context, outputs)


def needs_log_first(config: ResponsesConfig) -> bool:
    """Whether a response's row depends on other prompts: on raters, on positions or on the newest time."""
    return config.reliability != "none" or config.half_life_days is not None or config.exposure == "position"


class Work:
    """The stage's work on parts of `events` that no prompt crosses; or no answer, where none is compared."""

    def __init__(self, config: ResponsesConfig, known: Shared | None) -> None:
        """Begin before the first part.

        Args:
            config: The stage's settings.
            known: What the whole log gave; None where no row needs it (`needs_log_first`).
        """
        self._config = config
        self._known = known
        self._raters = RaterVotes(config)
        self._dropped = self._prompts = 0
        self._last_prompt = ""

    def made(self, events: pl.DataFrame, texts: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """The tables that a part gives, and what `passed` takes from them; may be called by several threads.

        `responses` hold their texts, for the stages that are made with this one.
        """
        found = _transformed(events, texts, self._config, self._known or _NOTHING_KNOWN)
        collected = pl.collect_all(list(found.tables), engine=IN_MEMORY)
        tables = dict(zip(Responses._fields, collected, strict=True))
        check_counted(events.lazy(), tables["comparisons"], tables["comparison_drops"])
        return {**tables, _VOTES: found.votes}

    def passed(self, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """The tables of each part as they are written, once they are counted, one part after the other."""
        votes = tables.pop(_VOTES)
        tables["responses"] = without_texts(tables["responses"])
        if self._known is None:
            self._raters.add(votes)
        self._dropped += int(tables["response_drops"]["n_events"].sum())
        self._count_prompts(tables["responses"]["prompt_id"])
        return tables

    def _count_prompts(self, ids: pl.Series) -> None:
        """Count the prompts of a part, of which the first may have been the last one's."""
        if len(ids):
            self._prompts += ids.n_unique() - (ids[0] == self._last_prompt)
            self._last_prompt = ids[-1]

    def last(self) -> Iterator[dict[str, pl.DataFrame]]:
        """One part: the tables that take all parts, after the last."""
        raters = self._raters.table() if self._known is None else self._known.raters
        yield {"raters": raters, "contradictions": rater_contradictions(raters)}

    def result(self, context: StageContext, outputs: Mapping[str, TableRecord]) -> StageResult:
        """What the stage says, once all tables are written."""
        events = context.rows("events")
        collected = {table: context.written(table, columns) for table, columns in _NOTED.items()}
        return StageResult(
            outputs=outputs,
            counts=Counts(
                rows_in=events,
                rows_out=outputs["responses"].rows,
                merged=events - outputs["responses"].rows - self._dropped,
                rejected=self._dropped,
            ),
            notes={"prompts": self._prompts, **notes(collected, self._config)},
        )


def notes(made: dict[str, pl.DataFrame], config: ResponsesConfig) -> dict[str, Any]:
    """Facts for the report, from the columns of the stage's tables that are in `_NOTED`."""
    responses, raters = made["responses"], made["raters"]
    contradicted = value_counts(made["contradictions"]["kind"])
    kept = responses.filter(pl.col("label") != "abstain")
    return {
        "labels": value_counts(responses["label"]),
        "abstain_reasons": value_counts(responses["abstain_reason"].drop_nulls()),
        "responses_with_both_votes": contradicted.get("both_labels", 0),
        "changed_minds": contradicted.get("changed_mind", 0),
        "raters": raters.height,
        "raters_of_one_label": contradicted.get("one_label_rater", 0),
        "rater_weights": {f"below_{edge}": int((raters["weight"] < edge).sum()) for edge in (0.1, 0.5, 0.9)},
        "dropped": value_counts(made["response_drops"]["reason"]),
        "pairs_with_both_chosen": contradicted.get("both_chosen", 0),
        "changed_choices": contradicted.get("changed_choice", 0),
        "comparisons": made["comparisons"].height,
        "comparison_drops": value_counts(made["comparison_drops"]["reason"]),
        "said": comparison_lines(made["comparisons"], made["comparison_drops"]),
        "comparison_kinds": value_counts(made["comparisons"]["kind"]),
        "exposure": exposure.described(kept, config.exposure, config.exposure_clip)._asdict(),
        "prior": {"up": config.prior_up, "down": config.prior_down},
    }
