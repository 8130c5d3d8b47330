"""Answers through every judge: what each says, as tables, and what there is to say of each."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import JudgeConfig, RunConfig
from ..context import Reporter
from ..errors import PipelineError
from ..tables import polars_schema
from .base import Answer, AnswerPair, Judgement, Preference, Surroundings
from .registry import judge_options, judge_spec

BASELINE: Final = "untrained"
# Answers that are Python objects at a time: each holds its tokens.
_PART_ROWS: Final = 1024


class Judged(NamedTuple):
    """What all judges said.

    Attributes:
        judgements: Table `judgements`.
        judged_pairs: Table `judged_pairs`.
        notes: By judge what it judged, what it did not and why, seconds, and its own facts; `said`: sentences.
    """

    judgements: pl.DataFrame
    judged_pairs: pl.DataFrame
    notes: dict[str, Any]


class _Told(NamedTuple):
    """What one judge said: rows of its table, how many of each reason, and its own facts."""

    rows: pl.DataFrame
    reasons: Counter[str | None]
    facts: Mapping[str, Any]
    said: list[str]


def ask(
    answers: pl.DataFrame,
    judges: Sequence[JudgeConfig],
    surroundings: Callable[[JudgeConfig], Surroundings],
    reporter: Reporter,
    baseline: str = BASELINE,
) -> Judged:
    """Ask each judge of all answers, in the order of the judges.

    Args:
        answers: Columns generation_id, prompt_id, group_id, model, sample, prompt, tools, completion,
            prompt_token_ids and completion_token_ids, in any order of rows.
        judges: Who judges.
        surroundings: What a judge may look at.
        reporter: Where to say what is going on.
        baseline: The model whose answers a judge of two answers compares the others' with, sample by sample.

    Raises:
        ConfigError: A judge is unknown, or its settings do not hold.
        PipelineError: A judge cannot go on; what it keeps is kept.
    """
    answers = answers.sort("prompt_id", "model", "sample")
    tables: dict[str, list[pl.DataFrame]] = {"judgements": [], "judged_pairs": []}
    notes: dict[str, Any] = {}
    said: list[str] = []
    for config in judges:
        spec = judge_spec(config.judge)
        started = time.monotonic()
        judge = spec.open(judge_options(config), surroundings(config))
        try:
            if spec.pairwise:
                told = _compared(judge, config.called, answers, baseline, reporter)
            else:
                told = _scored(judge, config.called, answers, reporter)
        finally:
            judge.close()
        tables["judged_pairs" if spec.pairwise else "judgements"].append(told.rows)
        notes[config.called] = {
            "judge": config.judge,
            "looks_at": "two answers" if spec.pairwise else "one answer",
            "judged": told.reasons[None],
            "unjudged": {str(reason): count for reason, count in sorted(_missing(told.reasons).items())},
            "seconds": round(time.monotonic() - started, 1),
            **told.facts,
        }
        said += told.said
    keys = {
        "judgements": ("judge", "generation_id"),
        "judged_pairs": ("judge", "prompt_id", "model", "generation_id", "model_first"),
    }
    made = {
        name: pl.concat([pl.DataFrame(schema=polars_schema(name)), *rows]).sort(keys[name])
        for name, rows in tables.items()
    }
    return Judged(made["judgements"], made["judged_pairs"], {"judges": notes, "said": said})


def with_prompts(generations: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Answers as `ask` takes them.

    Args:
        generations: Table `generations`.
        prompts: Table `generation_prompts`.
    """
    read = ["prompt_id", "prompt", "tools", "prompt_token_ids"]
    return generations.join(prompts.select(read), on="prompt_id", how="left", validate="m:1")


def of_run(
    config: RunConfig, reporter: Reporter, votes: Callable[[], pl.DataFrame]
) -> Callable[[JudgeConfig], Surroundings]:
    """What the judges of a run may look at.

    Args:
        config: The run.
        reporter: Where to say what is going on.
        votes: Gives response_id, n_up and n_down of `responses`.
    """
    folder = config.run_dir / "thumbs" / "thumbs_model"

    def surroundings(judge: JudgeConfig) -> Surroundings:
        return Surroundings(
            name=judge.called,
            reporter=reporter,
            thumbs_model=folder if folder.is_dir() else None,
            text=config.sequences,
            votes=votes,
            replies=config.replies,
            device=config.thumbs.device,
            dtype=config.thumbs.dtype,
        )

    return surroundings


def _missing(reasons: Counter[str | None]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if reason is not None}


def _scored(judge: Any, name: str, answers: pl.DataFrame, reporter: Reporter) -> _Told:
    said: list[Judgement] = []
    with reporter.progress(f"judged by {name}", answers.height, "answers") as advance:
        for part in answers.iter_slices(_PART_ROWS):
            asked = list(_answers(part))
            said += _checked(judge.judge(asked, advance), len(asked), name)
    rows = pl.DataFrame(
        {
            "judge": [name] * len(said),
            "generation_id": answers["generation_id"],
            "score": [one.score for one in said],
            "reason": [one.reason for one in said],
        },
        schema=polars_schema("judgements"),
    )
    return _told(name, rows, Counter(one.reason for one in said), judge.facts(), "answers")


def _compared(judge: Any, name: str, answers: pl.DataFrame, baseline: str, reporter: Reporter) -> _Told:
    pairs, alone = _pairs(answers, baseline)
    said: list[Preference] = []
    with reporter.progress(f"judged by {name}", 2 * pairs.height, "comparisons") as advance:
        for part in pairs.iter_slices(_PART_ROWS // 2):
            asked = list(_orders(part))
            said += _checked(judge.compare(asked, advance), len(asked), name)
    rows = (
        pl.DataFrame(
            {"first": [one.first for one in said], "reason": [one.reason for one in said]},
            schema={"first": pl.Float64, "reason": pl.String},
        )
        .with_columns(pair=pl.int_range(pl.len()) // 2, model_first=pl.int_range(pl.len()) % 2 == 0)
        .join(pairs.with_row_index("pair").with_columns(pl.col("pair").cast(pl.Int64)), on="pair", validate="m:1")
        .with_columns(
            judge=pl.lit(name),
            baseline=pl.lit(baseline),
            preference=pl.when("model_first").then("first").otherwise(1.0 - pl.col("first")),
        )
        .select(list(polars_schema("judged_pairs")))
    )
    told = _told(name, rows, Counter(one.reason for one in said), judge.facts(), "comparisons")
    if alone:
        words = f"{name}: {alone:,} answers have none of {baseline} beside them to be compared with."
        return told._replace(said=[*told.said, words])
    return told


def _told(name: str, rows: pl.DataFrame, reasons: Counter[str | None], facts: Mapping[str, Any], what: str) -> _Told:
    missing = ", ".join(f"{reason} {count:,}" for reason, count in sorted(_missing(reasons).items()))
    said = [f"{name}: no judgement of {reasons.total() - reasons[None]:,} of {reasons.total():,} {what}: {missing}."]
    own = dict(facts)
    said = [*(said if missing else []), *own.pop("said", [])]
    return _Told(rows, reasons, own, said)


def _pairs(answers: pl.DataFrame, baseline: str) -> tuple[pl.DataFrame, int]:
    """Each other model's answers beside the baseline's of the same prompt and sample; and how many have none."""
    shown = ["generation_id", "completion", "completion_token_ids"]
    theirs = answers.filter(pl.col("model") == baseline).select(
        "prompt_id", "sample", **{f"baseline_{column}": column for column in shown}
    )
    others = answers.filter(pl.col("model") != baseline)
    pairs = others.join(theirs, on=["prompt_id", "sample"], validate="m:1", maintain_order="left")
    return pairs, others.height - pairs.height


def _answers(rows: pl.DataFrame, prefix: str = "") -> Iterator[Answer]:
    shared = ("prompt_id", "prompt", "tools", "prompt_token_ids")
    own = ("generation_id", "completion", "completion_token_ids")
    for row in rows.select(*shared, *(pl.col(prefix + name).alias(name) for name in own)).iter_rows(named=True):
        yield Answer(**row)


def _orders(pairs: pl.DataFrame) -> Iterator[AnswerPair]:
    """Each pair with the model's answer first, then with the baseline's first."""
    for own, baseline in zip(_answers(pairs), _answers(pairs, "baseline_"), strict=True):
        yield AnswerPair(own, baseline)
        yield AnswerPair(baseline, own)


def _checked(said: list[Any], asked: int, name: str) -> list[Any]:
    """What a judge said, as many and as finite as its contract has it."""
    if len(said) != asked:
        raise PipelineError(f"judgements: {name} said {len(said):,} things of {asked:,}; a judge says one of each.")
    for number, (value, reason) in enumerate(said, start=1):
        if (value is None) != (reason is not None) or (value is not None and not math.isfinite(value)):
            raise PipelineError(
                f"judgements: {name} gave {value} with the reason {reason} ({number:,} of {asked:,}); a judge gives a "
                f"finite number, or none and a reason."
            )
    return said
