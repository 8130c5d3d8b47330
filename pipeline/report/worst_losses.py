"""Prompts on which the model's answer loses most against the baseline's, with both texts side by side."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from .evaluation_facts import EvaluationFacts
from .examples import Turn, turns
from .formatting import excerpt
from .inputs import Missing, ReportInputs
from .judges import Sides, judge_names, sides

# Columns of the tables that hold texts, read for the few answers that are shown.
TEXTS: Final = {"generations": ("generation_id", "completion"), "generation_prompts": ("prompt_id", "prompt")}
_COMPLETION_CHARACTERS: Final = 1_600
# Control characters but tab and line feed, and those that turn the direction of what follows or cannot be seen.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class Side(NamedTuple):
    """One answer.

    Attributes:
        model: Who wrote it.
        text: The answer, cut with the count of what is left out, control characters made visible; None where it was
            not read.
        tokens: Tokens in it.
        finish: How it ended.
        score: What a pointwise judge gives it; None for a pairwise one.
    """

    model: str
    text: str | None
    tokens: int
    finish: str
    score: float | None


class Loss(NamedTuple):
    """One prompt.

    Attributes:
        prompt_id: Its id.
        gap: Score of the model's answer less the baseline's; of a pairwise judge the preference less one half.
        prompt: Its messages; None where they were not read.
        sides: The model's answer, then the baseline's.
    """

    prompt_id: str
    gap: float
    prompt: tuple[Turn, ...] | None
    sides: tuple[Side, Side]


@dataclass(frozen=True)
class WorstLosses:
    """The section on lost prompts.

    Attributes:
        judge: Whose judgement it is: the one that decides.
        worst: The worst answer of each prompt, worst first.
        lost: Prompts on which an answer loses.
        prompts: Prompts on which two answers were compared.
    """

    judge: str
    worst: tuple[Loss, ...]
    lost: int
    prompts: int


def worst_losses(inputs: ReportInputs, facts: EvaluationFacts) -> WorstLosses | Missing:
    """The prompts that the model loses by most, by the judge that decides."""
    names, found = judge_names(inputs, facts), sides(facts)
    if not names or inputs.table("generations") is None:
        return Missing("No sampled answers were judged here, so none of them can be shown.")
    compared = _compared(inputs, names[0], found)
    if compared is None or compared.is_empty():
        return Missing(f"{names[0]} compared no two answers that are at hand, so none can be shown.")
    by_prompt = compared.sort("gap", "prompt_id", "generation_id").unique(
        "prompt_id", keep="first", maintain_order=True
    )
    lost = by_prompt.filter(pl.col("gap") < 0)
    shown = lost.head(inputs.worst_examples)
    return WorstLosses(names[0], tuple(_losses(inputs, shown, found)), lost.height, by_prompt.height)


def shown_answers(inputs: ReportInputs, facts: EvaluationFacts) -> dict[str, list[str]]:
    """Ids of the rows of each table of texts that are shown, which need not be read yet."""
    found = worst_losses(inputs, facts)
    if isinstance(found, Missing):
        return {name: [] for name in TEXTS}
    compared = _compared(inputs, found.judge, sides(facts))
    assert compared is not None, "losses come from comparisons"
    prompts = [loss.prompt_id for loss in found.worst]
    rows = compared.filter(pl.col("prompt_id").is_in(prompts))
    ids = [*rows["generation_id"], *rows["baseline_generation_id"]]
    return {"generations": sorted(set(ids)), "generation_prompts": prompts}


def _compared(inputs: ReportInputs, judge: str, found: Sides) -> pl.DataFrame | None:
    """`prompt_id`, both generations' ids, their scores and the gap: a row a comparison of two answers."""
    pairs = inputs.table("judged_pairs")
    own = (pl.col("judge") == judge) & (pl.col("model") == found.model) & (pl.col("baseline") == found.baseline)
    if pairs is not None and not (rows := pairs.filter(own & pl.col("preference").is_not_null())).is_empty():
        keys = ["prompt_id", "generation_id", "baseline_generation_id"]
        gaps = rows.group_by(keys, maintain_order=True).agg(gap=pl.col("preference").mean() - 0.5)
        empty = pl.lit(None, pl.Float64)
        return gaps.with_columns(score=empty, baseline_score=empty)
    return _of_scores(inputs, judge, found)


def _of_scores(inputs: ReportInputs, judge: str, found: Sides) -> pl.DataFrame | None:
    """Answers of one prompt and sample, whose scores are held against each other."""
    generations, judgements = inputs.table("generations"), inputs.table("judgements")
    if generations is None or judgements is None:
        return None
    scores = judgements.filter((pl.col("judge") == judge) & pl.col("score").is_not_null())
    scored = generations.join(scores.select("generation_id", "score"), on="generation_id", validate="1:1")
    keys = ["prompt_id", "sample"]
    ours = scored.filter(pl.col("model") == found.model).select(*keys, "generation_id", "score")
    theirs = scored.filter(pl.col("model") == found.baseline).select(
        *keys, baseline_generation_id="generation_id", baseline_score="score"
    )
    both = ours.join(theirs, on=keys, validate="1:1")
    return both.with_columns(gap=pl.col("score") - pl.col("baseline_score"))


def _losses(inputs: ReportInputs, shown: pl.DataFrame, found: Sides) -> list[Loss]:
    generations = inputs.table("generations")
    assert generations is not None, "losses come from generations"
    ids = [*shown["generation_id"], *shown["baseline_generation_id"]]
    rows = {row["generation_id"]: row for row in generations.filter(pl.col("generation_id").is_in(ids)).to_dicts()}
    texts = {} if inputs.answers is None else dict(inputs.answers.select(TEXTS["generations"]).iter_rows())
    prompts = {} if inputs.prompts is None else dict(inputs.prompts.select(TEXTS["generation_prompts"]).iter_rows())
    losses = []
    for row in shown.iter_rows(named=True):
        ours = _side(rows[row["generation_id"]], texts, row["score"])
        theirs = _side(rows[row["baseline_generation_id"]], texts, row["baseline_score"])
        losses.append(Loss(row["prompt_id"], row["gap"], turns(prompts.get(row["prompt_id"])), (ours, theirs)))
    return losses


def _side(row: dict[str, object], texts: dict[str, str], score: float | None) -> Side:
    text = texts.get(str(row["generation_id"]))
    cut = None if text is None else visible(excerpt(text, _COMPLETION_CHARACTERS))
    return Side(str(row["model"]), cut, int(str(row["token_count"])), str(row["finish"]), score)


def visible(text: str) -> str:
    """`text` with each control character as its code point, such as `[U+202E]`."""
    return _CONTROL.sub(lambda found: f"[U+{ord(found.group()):04X}]", text)
