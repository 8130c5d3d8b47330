"""Sampled answers and what judges said of them as arrays: prompts numbered by id, so that no order of rows matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from .groups import BoolArray, Groups, IntArray, group_numbers
from .slices import SliceColumn, each_slice, slice_columns
from .types import EvaluationSettings, FloatArray

_NO_JUDGEMENTS: Final = pl.DataFrame(
    schema={"judge": pl.String, "generation_id": pl.String, "score": pl.Float64, "reason": pl.String}
)
_NO_PAIRS: Final = pl.DataFrame(
    schema={
        **dict.fromkeys(("judge", "prompt_id", "model", "baseline"), pl.String),
        **dict.fromkeys(("generation_id", "baseline_generation_id"), pl.String),
        **{"model_first": pl.Boolean, "preference": pl.Float64},
    }
)
_NO_SCORES: Final = pl.DataFrame(
    schema={
        **dict.fromkeys(("response_id", "group_id", "split"), pl.String),
        **dict.fromkeys(("probability_desirable", "weight", "score", "probability"), pl.Float64),
        **{"token_count": pl.Int64},
    }
)


class AnswerTables(NamedTuple):
    """What `evaluate_answers` reads.

    Attributes:
        prompts: One row a prompt: prompt_id, group_id, and columns to slice by.
        generations: One row an answer: generation_id, prompt_id, model, sample, completion, token_count, finish,
            reference_logps, policy_logps (nats, summed; null for an empty answer), and its script where it is known.
        judgements: One row an answer and pointwise judge: judge, generation_id, score (null with a reason).
        judged_pairs: One row a comparison and order: judge, prompt_id, model, baseline, generation_id,
            baseline_generation_id, model_first, preference (1 for the model's answer, null with a reason).
        thumbs_scores: Held-out labelled answers under the thumbs model: response_id, group_id, split,
            probability_desirable, weight, score, probability, token_count, and script where it is known.
    """

    prompts: pl.DataFrame
    generations: pl.DataFrame
    judgements: pl.DataFrame = _NO_JUDGEMENTS
    judged_pairs: pl.DataFrame = _NO_PAIRS
    thumbs_scores: pl.DataFrame = _NO_SCORES


class PromptMeans(NamedTuple):
    """A number of each prompt, from its answers.

    Attributes:
        values: (prompts,) means of the prompts' answers; 0 where there is none.
        counts: (prompts,) answers behind each.
    """

    values: FloatArray
    counts: FloatArray

    @property
    def rows(self) -> BoolArray:
        """(prompts,) which prompts have a number."""
        return self.counts > 0

    def n(self, rows: BoolArray) -> int:
        """Answers behind some of the prompts."""
        return int(self.counts[rows].sum())


@dataclass(frozen=True)
class ModelAnswers:
    """One model's answers, sorted by prompt and sample.

    Attributes:
        model: The model's name.
        table: Its rows of `generations`.
        prompt: (answers,) number of each answer's prompt.
        prompts: How many prompts there are, answered or not.
    """

    model: str
    table: pl.DataFrame
    prompt: IntArray
    prompts: int

    @cached_property
    def characters(self) -> FloatArray:
        """(answers,) characters of each answer's text."""
        return self.table["completion"].str.len_chars().cast(pl.Float64).to_numpy()

    def numbers(self, column: str) -> FloatArray:
        """(answers,) values of a column; NaN where it is null."""
        return self.table[column].cast(pl.Float64).fill_null(np.nan).to_numpy()

    def sums(self, values: FloatArray) -> FloatArray:
        """(prompts,) sums of answers' values."""
        return np.asarray(np.bincount(self.prompt, weights=values, minlength=self.prompts), dtype=np.float64)

    def means(self, values: FloatArray) -> PromptMeans:
        """Each prompt's mean of the values that are not NaN."""
        known = ~np.isnan(values)
        counts = self.sums(known.astype(np.float64))
        sums = self.sums(np.where(known, values, 0.0))
        return PromptMeans(sums / np.maximum(counts, 1.0), counts)


@dataclass(frozen=True)
class Judged:
    """What one pointwise judge said.

    Attributes:
        judge: The judge's name.
        scores: Each model's (answers,) scores in the order of its answers; NaN where there is none.
        reasons: Each model's answers without a score, counted by reason.
    """

    judge: str
    scores: Mapping[str, FloatArray]
    reasons: Mapping[str, Mapping[str, int]]

    @cached_property
    def are_shares(self) -> bool:
        """Whether every score is from 0 to 1, so that a mean of them is a share."""
        known = [values[~np.isnan(values)] for values in self.scores.values()]
        return all(bool(np.all((values >= 0) & (values <= 1))) for values in known)

    @property
    def unit(self) -> str:
        """What the scores are measured in."""
        return "share" if self.are_shares else "score"


@dataclass(frozen=True)
class Answers:
    """Every model's answers to the same prompts, and what was said of them.

    Attributes:
        prompt_ids: (prompts,) sorted.
        groups: Prompt groups, a row a prompt.
        slices: Slices of the prompts.
        models: Answers by model, in the order of names.
        judged: What each pointwise judge said, in the order of names.
        judged_pairs: Each pairwise judge's rows, in the order of names.
        thumbs_scores: Labelled answers under the thumbs model.
        calibrated_judge: The judge whose scores are of that model; None without one.
    """

    prompt_ids: pl.Series
    groups: Groups
    slices: tuple[SliceColumn, ...]
    models: Mapping[str, ModelAnswers]
    judged: Mapping[str, Judged]
    judged_pairs: Mapping[str, pl.DataFrame]
    thumbs_scores: pl.DataFrame
    calibrated_judge: str | None

    def parts(self) -> Iterator[tuple[str | None, BoolArray]]:
        """All prompts, and then the name and the (prompts,) mask of every slice."""
        yield None, np.ones(self.groups.number.shape[0], dtype=bool)
        yield from each_slice(self.slices)

    def against(self, baseline: str) -> list[ModelAnswers]:
        """The models that are compared with the baseline; none where it wrote no answers."""
        return [answers for name, answers in self.models.items() if name != baseline and baseline in self.models]


def answers_of(tables: AnswerTables, settings: EvaluationSettings, calibrated_judge: str | None = None) -> Answers:
    """The tables' rows in one fixed order, joined by id.

    Args:
        tables: As `checked_answers` lets them pass.
        settings: Slices and seed.
        calibrated_judge: The judge whose scores are the thumbs model's.
    """
    prompts = tables.prompts.sort("prompt_id")
    places = prompts.select("prompt_id").with_row_index("prompt")
    generations = tables.generations.join(places, on="prompt_id", how="left", validate="m:1")
    generations = generations.sort("model", "prompt", "sample")
    models = {
        str(model): ModelAnswers(
            str(model), part.drop("prompt"), part["prompt"].to_numpy().astype(np.int64), prompts.height
        )
        for (model,), part in generations.partition_by("model", as_dict=True).items()
    }
    pairs = tables.judged_pairs.join(places, on="prompt_id", how="left", validate="m:1")
    return Answers(
        prompt_ids=prompts["prompt_id"],
        groups=group_numbers(prompts["group_id"], settings.seed),
        slices=slice_columns(prompts, settings),
        models=models,
        judged={name: _judged(name, part, models) for name, part in _by_judge(tables.judgements).items()},
        judged_pairs=_by_judge(pairs),
        thumbs_scores=tables.thumbs_scores.sort("response_id"),
        calibrated_judge=calibrated_judge,
    )


def _by_judge(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = {str(judge): part for (judge,), part in rows.partition_by("judge", as_dict=True).items()}
    return {judge: parts[judge] for judge in sorted(parts)}


def _judged(judge: str, rows: pl.DataFrame, models: Mapping[str, ModelAnswers]) -> Judged:
    """One judge's scores. Equal answers to a prompt have one score, the mean of what was said of them.

    A judge's arithmetic differs by rounding between two batches; without this, equal answers would win and lose.
    """
    said = rows.select("generation_id", "score", "reason")
    whole = pl.concat([answers.table.select("generation_id", "prompt_id", "completion") for answers in models.values()])
    joined = whole.join(said, on="generation_id", how="left", validate="1:1", maintain_order="left")
    # Sorted within the group, so that a mean is summed in one order whatever the order of the rows.
    same = pl.col("score").sort_by("generation_id").mean().over("prompt_id", "completion")
    joined = joined.with_columns(score=pl.when(pl.col("score").is_not_null()).then(same))
    scores, reasons, start = {}, {}, 0
    for name, answers in models.items():
        part = joined.slice(start, answers.table.height)
        start += answers.table.height
        scores[name] = part["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        told = part.filter(pl.col("score").is_null())["reason"].fill_null("not judged").value_counts(name="answers")
        reasons[name] = dict(told.sort(["answers", "reason"], descending=[True, False]).iter_rows())
    return Judged(judge, scores, reasons)
