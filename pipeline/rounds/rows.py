"""Judged or voted answers to the rows of a log, which the round's run reads beside the logs before it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import EventsConfig
from ..dataset.rows import message_of
from ..errors import InputError
from ..identity import response_id
from ..stages.events import ingest
from ..storage.digests import compact_json

# Votes that are taken from a file of people's.
VOTED: Final = ("up", "down", "chosen", "rejected", "tied")
# What a calibrated judge's even chance is.
_EVEN: Final = 0.5

LogRow = dict[str, Any]


class Rows(NamedTuple):
    """Rows of a log, and what became of the prompts or votes that gave none.

    Attributes:
        rows: As the log has them, in the order of prompts.
        made: How many pairs, or rated answers, they are.
        left_out: How many prompts, answers or votes gave none, by reason.
    """

    rows: list[LogRow]
    made: int
    left_out: dict[str, int]


def usable(answers: pl.DataFrame, *, keep_cut: bool) -> tuple[pl.DataFrame, dict[str, int]]:
    """The answers that can become rows, and how many cannot by reason: no judgement, empty, cut, said before.

    Args:
        answers: Columns prompt_id, generation_id, completion, finish and value.
        keep_cut: Whether answers that were cut while they were sampled can.
    """
    reason = (
        pl.when(pl.col("value").is_null())
        .then(pl.lit("not judged"))
        .when(pl.col("completion").str.strip_chars() == "")
        .then(pl.lit("empty"))
        .when((pl.col("finish") == "length") & (not keep_cut))
        .then(pl.lit("cut"))
    )
    told = answers.sort("prompt_id", "generation_id").with_columns(reason=reason)
    kept = told.filter(pl.col("reason").is_null())
    distinct = kept.unique(["prompt_id", "completion"], keep="first", maintain_order=True)
    counts = dict(told["reason"].drop_nulls().value_counts().sort("reason").iter_rows())
    repeated = kept.height - distinct.height
    return distinct.drop("reason"), counts | ({"said before": repeated} if repeated else {})


def best_and_worst(answers: pl.DataFrame, margin: float) -> tuple[pl.DataFrame, dict[str, int]]:
    """One pair a prompt, and how many prompts give none by reason.

    Args:
        answers: What `usable` gives.
        margin: Least difference of the two values; answers of one value are no pair.

    Returns:
        Columns prompt_id, chosen, rejected: generation ids.
    """
    ordered = answers.sort("prompt_id", "value", "generation_id")
    pairs = ordered.group_by("prompt_id", maintain_order=True).agg(
        chosen=pl.col("generation_id").last(),
        rejected=pl.col("generation_id").first(),
        gap=pl.col("value").last() - pl.col("value").first(),
        answers=pl.len(),
    )
    alone, apart = pl.col("answers") < 2, (pl.col("gap") >= margin) & (pl.col("gap") > 0)
    counts = {
        "one answer": pairs.filter(alone).height,
        "too alike": pairs.filter(~alone & ~apart).height,
    }
    return pairs.filter(~alone & apart).select("prompt_id", "chosen", "rejected"), _above_zero(counts)


def rated(answers: pl.DataFrame, margin: float) -> tuple[pl.DataFrame, dict[str, int]]:
    """Answers that are surely liked or not, and how many are neither.

    Args:
        answers: What `usable` gives; values are thumbs-up rates.
        margin: An answer counts where its rate is half of this away from an even chance, or more.

    Returns:
        Columns prompt_id, generation_id, vote.
    """
    away = pl.col("value") - _EVEN
    told = answers.with_columns(vote=pl.when(away > 0).then(pl.lit("up")).otherwise(pl.lit("down")))
    sure = told.filter((away.abs() >= margin / 2) & (away != 0))
    counts = {"near an even chance": told.height - sure.height}
    return sure.select("prompt_id", "generation_id", "vote").sort("prompt_id", "generation_id"), _above_zero(counts)


def log_rows(judged: pl.DataFrame, answers: pl.DataFrame, label: str) -> Iterator[LogRow]:
    """Rows of a log of votes.

    Args:
        judged: Columns generation_id, vote, comparison_id (null for a vote on one answer) and, where people voted,
            user_id, in the log's order.
        answers: Columns generation_id, prompt, tools and completion of these answers.
        label: What the answers' model is called.
    """
    rows = judged.join(answers, on="generation_id", how="left", validate="m:1", maintain_order="left")
    for row in rows.iter_rows(named=True):
        given = _given(row, [name for name in ("comparison_id", "user_id") if name in row])
        yield {**_asked(row), "model": label, "vote": row["vote"], **given}


def unrated_rows(answers: pl.DataFrame, label: str) -> Iterator[LogRow]:
    """Rows without a vote, which people fill in.

    Args:
        answers: Columns generation_id, prompt, tools and completion.
        label: What the answers' model is called.
    """
    for row in answers.iter_rows(named=True):
        yield {"event_id": row["generation_id"], **_asked(row), "model": label, "vote": None}


def _asked(row: Mapping[str, Any]) -> LogRow:
    return {
        "prompt": [message_of(message) for message in row["prompt"]],
        **_given(row, ("tools",)),
        "completion": row["completion"],
    }


def _given(row: Mapping[str, Any], names: Iterable[str]) -> LogRow:
    return {name: row[name] for name in names if row[name] is not None}


def pair_rows(pairs: pl.DataFrame) -> pl.DataFrame:
    """Both sides of each pair as `log_rows` takes them."""
    sides = [
        pairs.select("prompt_id", generation_id=side, vote=pl.lit(side), comparison_id="chosen")
        for side in ("chosen", "rejected")
    ]
    return pl.concat(sides).sort("prompt_id", "comparison_id", "vote")


def lines(rows: Iterable[LogRow]) -> str:
    """Rows as JSON lines."""
    return "".join(compact_json(row) + "\n" for row in rows)


class Votes(NamedTuple):
    """People's votes on answers that were handed out.

    Attributes:
        frame: Columns of the answers, with vote, comparison_id and user_id; sorted by prompt and answer.
        left_out: How many votes and answers are not among them, by reason.
    """

    frame: pl.DataFrame
    left_out: dict[str, int]


def voted(config: EventsConfig, answers: pl.DataFrame) -> Votes:
    """The votes of a file on answers that were handed out.

    A vote is matched by prompt and answer, whatever else a tool made of the file. Votes on other answers are left out
    and counted, as are answers without a vote.

    Args:
        config: The file, and how it is read.
        answers: Columns generation_id, prompt_id, prompt, tools and completion of all that was handed out.

    Raises:
        InputError: The file cannot be read, or no vote in it is on an answer that was handed out.
    """
    events = ingest(config).events.select("response_id", "vote", "comparison_id", "user_id")
    named = answers.with_columns(response_id=response_id(pl.col("prompt_id"), pl.col("completion")))
    known = named.unique("response_id", keep="first", maintain_order=True)
    votes = events.with_columns(pl.col("vote").cast(pl.String)).filter(pl.col("vote").is_in(VOTED))
    on_known = votes.join(known, on="response_id", how="inner", validate="m:1").sort("prompt_id", "generation_id")
    if on_known.is_empty():
        raise InputError(
            f"--votes-from {', '.join(config.inputs)}: none of its {votes.height:,} votes is on an answer of this "
            f"round. Give the file that --votes wrote, with its votes filled in, or what a tool made of it."
        )
    left_out = {
        "votes on other answers": votes.height - on_known.height,
        "answers without a vote": known.join(on_known, on="response_id", how="anti").height,
    }
    return Votes(on_known, _above_zero(left_out))


def pairs_of_votes(votes: pl.DataFrame, margin: float) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows for `log_rows`: each prompt's best and worst answer by its thumbs, and comparisons as people made them.

    The value of an answer is the mean of its thumbs-up rate after one thumb of each kind: more thumbs are surer.

    Args:
        votes: `Votes.frame`.
        margin: Least difference of the two values.
    """
    thumbs = votes.filter(pl.col("vote").is_in(("up", "down")))
    values = thumbs.group_by("prompt_id", "generation_id").agg(
        value=((pl.col("vote") == "up").sum() + 1) / (pl.len() + 2)
    )
    pairs, left_out = best_and_worst(values, margin)
    compared = votes.filter(pl.col("comparison_id").is_not_null())
    rows = [pair_rows(pairs), compared.select("prompt_id", "generation_id", "vote", "comparison_id")]
    return pl.concat(rows, how="vertical_relaxed"), left_out


def _above_zero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
