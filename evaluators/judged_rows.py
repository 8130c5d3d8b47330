"""Judged pairs of any two models as numbers: who is compared with whom, and what each row must hold."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from .bradley_terry import Comparisons, tied_to, win_counts
from .estimands import Source
from .groups import BoolArray, group_numbers
from .types import EvaluationError, EvaluationSettings, FloatArray

NAME: Final = "judged_pairs"
VERSION: Final = 1
ALL_MODELS: Final = "(all models)"
COLUMNS: Final = ("group_id", "model_a", "model_b", "preference")
_OPTIONAL: Final[dict[str, type[pl.DataType]]] = {
    "judge": pl.String,
    "pair_id": pl.String,
    "a_first": pl.Boolean,
    "length_a": pl.Float64,
    "length_b": pl.Float64,
}
_ONE_JUDGE: Final = "the judge"


class Judged(NamedTuple):
    """What one judge said.

    Attributes:
        judge: The judge.
        names: Names of the models, sorted.
        rows: The judged pairs, sorted by everything that they hold.
        pairs: The same, as numbers.
        anchor: Number of the model that the others are compared with.
    """

    judge: str
    names: tuple[str, ...]
    rows: pl.DataFrame
    pairs: Comparisons
    anchor: int


def checked_judged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with every column, sorted by all that they hold.

    Raises:
        EvaluationError: A column is missing or holds something else, or there is no row.
    """
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise EvaluationError(f"judged pairs: column {', '.join(missing)} missing; there are {', '.join(rows.columns)}")
    if rows.is_empty():
        raise EvaluationError("judged pairs: there is no row")
    if not rows.schema["preference"].is_numeric():
        raise EvaluationError(f"judged pairs: preference is of type {rows.schema['preference']}, must be a number")
    faults = {
        "no group_id": pl.col("group_id").is_null(),
        "no name of a model": pl.col("model_a").is_null() | pl.col("model_b").is_null(),
        "one model against itself": pl.col("model_a") == pl.col("model_b"),
        "a preference outside 0 to 1": ~pl.col("preference").is_between(0.0, 1.0).fill_null(value=False),
    }
    counts = rows.select(bad.fill_null(value=False).sum().alias(what) for what, bad in faults.items()).row(0)
    told = [f"{count:,} with {what}" for what, count in zip(faults, counts, strict=True) if count]
    if told:
        raise EvaluationError(f"judged pairs: of {rows.height:,} rows {', '.join(told)}; leave them out or mend them")
    there = [
        pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in _OPTIONAL.items()
    ]
    plain = rows.select(
        pl.col("group_id", "model_a", "model_b").cast(pl.String), pl.col("preference").cast(pl.Float64), *there
    )
    # Sorted by all that they hold, so that no order of the rows can move a digit.
    return plain.with_columns(pl.col("judge").fill_null(_ONE_JUDGE)).sort(plain.columns, nulls_last=False)


def numbered_judged(judge: str, rows: pl.DataFrame, settings: EvaluationSettings) -> Judged:
    """One judge's rows as numbers; models are counted from 0 in the order of their names."""
    names = pl.concat([rows["model_a"], rows["model_b"]]).unique().sort()
    number = {name: place for place, name in enumerate(names.to_list())}
    first, second = (
        rows[column].replace_strict(number, return_dtype=pl.Int64).to_numpy() for column in ("model_a", "model_b")
    )
    groups = group_numbers(rows["group_id"], settings.seed)
    pairs = Comparisons(first, second, rows["preference"].to_numpy(), len(number), groups)
    return Judged(judge, tuple(number), rows, pairs, _anchor(pairs, number.get(settings.baseline)))


def _anchor(pairs: Comparisons, baseline: int | None) -> int:
    """The baseline; else the model with the most comparisons among the largest set of models tied to each other."""
    if baseline is not None:
        return baseline
    wins = win_counts(pairs)
    met = (wins + wins.T).sum(axis=1)
    tied = np.array([int(tied_to(wins, model).sum()) for model in range(pairs.models)])
    return int(np.lexsort((-met, -tied))[0])


def source_of(judged: Judged, model: int | None, evaluator: str = NAME, *, against: bool = False) -> Source:
    """Whose number it is; None for all models together."""
    name = ALL_MODELS if model is None else judged.names[model]
    other = judged.names[judged.anchor] if against else None
    return Source(evaluator, VERSION, name, judged.pairs.groups, other, judged.judge)


class Against(NamedTuple):
    """A model's comparisons: (rows,) which are its own, and how far it is preferred in them."""

    rows: BoolArray
    preference: FloatArray


def comparisons_of(judged: Judged, model: int, other: int | None = None) -> Against:
    """What a model was compared in, with any other or with one of them."""
    pairs = judged.pairs
    own, theirs = pairs.first == model, pairs.second == model
    if other is not None:
        own, theirs = own & (pairs.second == other), theirs & (pairs.first == other)
    return Against(own | theirs, np.where(theirs, 1.0 - pairs.preference, pairs.preference))
