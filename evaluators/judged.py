"""Judged pairs of any two models, whoever judged them: win rates, ratings, and what order and length do to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from .estimands import Source
from .groups import group_numbers
from .judged_ratings import ratings_of
from .judged_rows import (
    ALL_MODELS,
    NAME,
    VERSION,
    Against,
    Judged,
    checked_judged,
    comparisons_of,
    numbered_judged,
    source_of,
)
from .length_control import length_controlled
from .paired_tests import holm, sign_flip
from .types import METRICS_SCHEMA, Draft, Estimand, EvaluationSettings, FloatArray, Metric
from .uncertainty import intervals

# Judges that are evaluated apart; the verdicts of more, a crowd's, are taken together.
MOST_JUDGES: Final = 10


def evaluate_judged(rows: pl.DataFrame, settings: EvaluationSettings) -> pl.DataFrame:
    """Win rates and ratings of models from judged pairs, a frame of `METRICS_SCHEMA`.

    Args:
        rows: One row a judged pair: `group_id` (the prompt), `model_a`, `model_b`, and `preference`, from 1 where a's
            answer is better to 0 where b's is. Where known: `judge`; `a_first`, whether a's answer was shown first;
            `pair_id`, the same for both orders of two answers; `length_a` and `length_b` in characters.
        settings: Draws, confidence, seed, and the baseline, which ratings are against where it is one of the models;
            otherwise they are against the model with the most comparisons.

    Returns:
        A judge and model: `win_rate` against the baseline with `wins`, `ties`, `losses`, `win_rate_p`,
        `length_controlled_win_rate`; `win_rate_overall`, against all whom it met; `rating`. A judge: `position_bias`,
        `self_agreement`, `ties`.

    Raises:
        EvaluationError: A column is missing or holds something else, or there is no row.
    """
    checked = checked_judged(rows)
    judges = checked["judge"].unique().sort().to_list()
    if len(judges) > MOST_JUDGES:
        parts = [(f"{len(judges)} judges", checked)]
    else:
        parts = [(judge, checked.filter(pl.col("judge") == judge)) for judge in judges]
    metrics: list[Metric] = []
    for judge, part in parts:
        judged = numbered_judged(judge, part, settings)
        drafts = [*against_baseline(judged, settings), *overall(judged), *of_orders(judged, settings)]
        metrics += [draft for draft in drafts if isinstance(draft, Metric)]
        metrics += intervals([draft for draft in drafts if isinstance(draft, Estimand)], settings)
        metrics += ratings_of(judged, settings)
    frame = pl.DataFrame(metrics, schema=METRICS_SCHEMA, orient="row")
    return frame.sort("judge", "evaluator", "metric", "model", "compared_with", nulls_last=False)


def against_baseline(judged: Judged, settings: EvaluationSettings) -> list[Draft]:
    """Every model against the one that they are compared with: shares, a test, and the win rate at equal lengths."""
    others = [model for model in range(len(judged.names)) if model != judged.anchor]
    found = {model: comparisons_of(judged, model, judged.anchor) for model in others}
    met = [model for model in others if found[model].rows.any()]
    p_values = holm([sign_flip(_changes(judged, found[model])) for model in met])
    with_lengths = (judged.rows["length_a"].is_not_null() & judged.rows["length_b"].is_not_null()).any()
    drafts: list[Draft] = []
    for model, p_value in zip(met, p_values, strict=True):
        source, against = source_of(judged, model, against=True), found[model]
        drafts += _shares(source, against)
        drafts.append(_tested(source, against, _changes(judged, against), p_value, len(met)))
        if with_lengths:
            drafts.append(_without_length(judged, source, against, model, settings))
    if not with_lengths:
        unknown = "the lengths of the answers are not known"
        drafts.append(
            source_of(judged, None).metric("length_controlled_win_rate", None, "share", unknown, n=0, n_groups=0)
        )
    unmet = "never compared with it directly"
    return drafts + [
        source_of(judged, model, against=True).metric("win_rate", None, "share", unmet, n=0, n_groups=0)
        for model in others
        if model not in met
    ]


def _changes(judged: Judged, against: Against) -> FloatArray:
    return judged.pairs.groups.sums(np.where(against.rows, against.preference - 0.5, 0.0))


def _shares(source: Source, against: Against) -> list[Draft]:
    kinds = {
        "win_rate": against.preference,
        "wins": (against.preference > 0.5).astype(np.float64),
        "ties": (against.preference == 0.5).astype(np.float64),
        "losses": (against.preference < 0.5).astype(np.float64),
    }
    return [source.mean(name, values, "share", against.rows, proportion=True) for name, values in kinds.items()]


def _tested(source: Source, against: Against, changes: FloatArray, p_value: float, comparisons: int) -> Metric:
    groups = source.groups.present(against.rows)
    better, worse = int((changes > 0).sum()), int((changes < 0).sum())
    words = f"{better} prompt groups better, {worse} worse, {groups - better - worse} the same"
    words += f"; corrected for {comparisons} comparisons" if comparisons > 1 else ""
    n = int(np.count_nonzero(against.rows))
    return source.metric("win_rate_p", p_value, "probability", words, n=n, n_groups=groups)


def _without_length(
    judged: Judged, source: Source, against: Against, model: int, settings: EvaluationSettings
) -> Metric:
    """`length_controlled_win_rate`, of the pairs whose lengths are known."""
    lengths = (judged.rows["length_a"] - judged.rows["length_b"]).to_numpy()
    known = against.rows & np.isfinite(lengths)
    name, n = "length_controlled_win_rate", int(np.count_nonzero(known))
    where: dict[str, Any] = {"n": n, "n_groups": source.groups.present(known)}
    if not n:
        return source.metric(name, None, "share", "the lengths of these answers are not known", **where)
    longer = np.where(judged.pairs.first == model, lengths, -lengths)
    groups = group_numbers(judged.rows["group_id"].filter(pl.Series(known)), settings.seed)
    found = length_controlled(against.preference[known], longer[known], np.ones(n), groups, settings)
    ends: dict[str, Any] = {"ci_low": found.ci_low, "ci_high": found.ci_high, "standard_error": found.standard_error}
    return source.metric(name, found.value, "share", found.reason, **ends, **where)


def overall(judged: Judged) -> list[Draft]:
    """`win_rate_overall` of each model against all whom it met, each comparison counting once."""
    drafts: list[Draft] = []
    for model in range(len(judged.names)):
        against = comparisons_of(judged, model)
        note = "against the models that it met, each comparison counting once"
        mean = source_of(judged, model).mean(
            "win_rate_overall", against.preference, "share", against.rows, proportion=True, note=note
        )
        drafts.append(mean)
    ties = (judged.pairs.preference == 0.5).astype(np.float64)
    return [*drafts, source_of(judged, None).mean("ties", ties, "share", proportion=True)]


def of_orders(judged: Judged, settings: EvaluationSettings) -> list[Draft]:
    """`position_bias` and `self_agreement`, where it is known which answer was shown first."""
    rows = judged.rows.with_row_index("place").filter(pl.col("a_first").is_not_null())
    source = source_of(judged, None)
    if rows.is_empty():
        reason = "it is not known which answer was shown first"
        return [source.metric("position_bias", None, "share", reason, n=0, n_groups=0)]
    both = _both_orders(rows)
    shown = pl.when("a_first").then("preference").otherwise(1.0 - pl.col("preference"))
    used = rows.filter(pl.col("pair_id").is_in(both["pair_id"].implode())) if both.height else rows
    note = "share that the answer shown first wins, less one half"
    note += "" if both.height else "; fair only where the order was drawn by chance"
    bias = used.select("group_id", value=shown - 0.5)
    drafts: list[Draft] = [_mean_of(judged, "position_bias", bias, note, settings)]
    if both.height:
        same = "pairs whose two orders have one verdict"
        drafts.append(_mean_of(judged, "self_agreement", both.select("group_id", "value"), same, settings))
    return drafts


def _both_orders(rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs shown in both orders: whether their verdicts name the same answer."""
    first_name = pl.min_horizontal("model_a", "model_b")
    of_first = pl.when(pl.col("model_a") == first_name).then("preference").otherwise(1.0 - pl.col("preference"))
    first_shown = pl.col("a_first") == (pl.col("model_a") == first_name)
    pairs = rows.filter(pl.col("pair_id").is_not_null()).select(
        "group_id", "pair_id", verdict=(of_first - 0.5).sign(), order=first_shown
    )
    pairs = pairs.group_by("pair_id").agg(
        pl.col("group_id").first(),
        value=(pl.col("verdict").n_unique() == 1).cast(pl.Float64),
        n=pl.col("order").n_unique(),
    )
    return pairs.filter(pl.col("n") == 2).sort("pair_id")


def _mean_of(judged: Judged, name: str, values: pl.DataFrame, note: str, settings: EvaluationSettings) -> Metric:
    """The mean of values that are not one a judged pair, so that they have prompt groups of their own."""
    groups = group_numbers(values["group_id"], settings.seed)
    source = Source(NAME, VERSION, ALL_MODELS, groups, None, judged.judge)
    proportion = name == "self_agreement"
    mean = source.mean(name, values["value"].to_numpy(), "share", proportion=proportion, note=note)
    return intervals([mean], settings)[0]


def judged_models(rows: pl.DataFrame) -> Sequence[str]:
    """Names of all models of judged pairs, sorted."""
    return pl.concat([rows["model_a"], rows["model_b"]]).cast(pl.String).unique().sort().to_list()
