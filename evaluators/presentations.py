"""Pairs of answers as a judge was shown them: both orders as one verdict, and what the order did."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from .answers import ModelAnswers, PromptMeans
from .types import FloatArray
from .versus import Comparisons, length_pairs

_PAIR = ("prompt", "generation_id", "baseline_generation_id")


class Presentations(NamedTuple):
    """What a judge of pairs said of one model against the baseline.

    Attributes:
        versus: Verdicts of pairs, the orders that were asked averaged. A pair counts where every order has a verdict.
        first: Share that the answer shown first wins, less one half, of pairs of different texts judged in both orders.
        agree: Whether the two orders of such a pair name the same answer, or both neither.
        refused: Pairs with an order that has no verdict.
        reasons: Why, with how many verdicts are missing; None where none is.
    """

    versus: Comparisons
    first: PromptMeans
    agree: PromptMeans
    refused: PromptMeans
    reasons: str | None


def presentations(rows: pl.DataFrame, model: ModelAnswers, baseline: ModelAnswers) -> Presentations:
    """Both orders of each pair together.

    Args:
        rows: One judge's rows of this model against the baseline, with the prompt's number as `prompt`.
        model: The model's answers.
        baseline: The baseline's.
    """
    shown = pl.col("preference")
    by_first = pl.when("model_first").then(shown).otherwise(1.0 - shown)
    pairs = rows.group_by(_PAIR).agg(
        preference=shown.sort_by("model_first").mean(),
        orders=pl.len(),
        verdicts=shown.count(),
        first=by_first.sort_by("model_first").mean(),
        # The sign of a verdict says which answer it names.
        agree=(shown - 0.5).sign().n_unique() == 1,
    )
    pairs = _with_places(pairs.sort(_PAIR), model, baseline)
    judged = pairs.filter(pl.col("orders") == pl.col("verdicts"))
    # Of equal answers a judge is not asked, or says nothing of itself: no order of them can be the better.
    both = judged.filter(pl.col("orders") == 2, pl.col("differ"))
    whole = pairs.select("prompt", value=(pl.col("orders") > pl.col("verdicts")).cast(pl.Float64))
    return Presentations(
        versus=_versus(judged, model, baseline),
        first=_means(both.select("prompt", value=pl.col("first") - 0.5), model.prompts),
        agree=_means(both.select("prompt", value=pl.col("agree").cast(pl.Float64)), model.prompts),
        refused=_means(whole, model.prompts),
        reasons=_reasons(rows),
    )


def _with_places(pairs: pl.DataFrame, model: ModelAnswers, baseline: ModelAnswers) -> pl.DataFrame:
    """The pairs with both answers' places in their tables, as `place` and `other_place`, and whether texts `differ`."""
    for side, key, place, text in (
        (model, "generation_id", "place", "text"),
        (baseline, "baseline_generation_id", "other_place", "other_text"),
    ):
        known = side.table.select(pl.col("generation_id").alias(key), pl.col("completion").alias(text))
        pairs = pairs.join(known.with_row_index(place), on=key, how="left", validate="m:1", maintain_order="left")
    return pairs.with_columns(differ=pl.col("text") != pl.col("other_text")).drop("text", "other_text")


def _versus(judged: pl.DataFrame, model: ModelAnswers, baseline: ModelAnswers) -> Comparisons:
    preference = judged["preference"].cast(pl.Float64).to_numpy()
    prompt = judged["prompt"].cast(pl.Int64)
    kinds = [preference > 0.5, preference == 0.5, preference < 0.5]
    won, tied, lost = (_means(_frame(prompt, kind.astype(np.float64)), model.prompts).values for kind in kinds)
    shares = _means(_frame(prompt, preference), model.prompts)
    one, two = (judged[name].to_numpy().astype(np.int64) for name in ("place", "other_place"))
    return Comparisons(
        won, tied, lost, shares.values, shares.counts, length_pairs(model, one, baseline, two, preference)
    )


def _frame(prompt: pl.Series, values: FloatArray) -> pl.DataFrame:
    return pl.DataFrame({"prompt": prompt, "value": values})


def _means(pairs: pl.DataFrame, prompts: int) -> PromptMeans:
    number, values = pairs["prompt"].to_numpy().astype(np.int64), pairs["value"].cast(pl.Float64).to_numpy()
    counts = np.bincount(number, minlength=prompts).astype(np.float64)
    return PromptMeans(np.bincount(number, weights=values, minlength=prompts) / np.maximum(counts, 1.0), counts)


def _reasons(rows: pl.DataFrame) -> str | None:
    missing = rows.filter(pl.col("preference").is_null())
    if missing.is_empty():
        return None
    reason = pl.col("reason") if "reason" in rows.columns else pl.lit(None, pl.String)
    counted = missing.select(reason=reason.fill_null("no verdict")).group_by("reason").len()
    told = counted.sort(["len", "reason"], descending=[True, False]).head(3)
    return "verdicts missing: " + ", ".join(f"{count:,} {why}" for why, count in told.iter_rows())
