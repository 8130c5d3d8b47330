"""Slices: which rows have which value of a column, with the number of slices kept in bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .groups import BoolArray
from .types import EvaluationError, EvaluationSettings

# The name of what is left of a column of text once its commonest values have slices of their own.
OTHER = "(other)"
_RANGES = 4


class SliceColumn(NamedTuple):
    """One column's slices.

    Attributes:
        names: `column=value` of each slice, sorted.
        codes: (rows,) which of the names each row has.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int32]


def each_slice(columns: Sequence[SliceColumn]) -> Iterator[tuple[str, BoolArray]]:
    """The name and the (rows,) mask of every slice of every column."""
    for column in columns:
        for index, name in enumerate(column.names):
            yield name, column.codes == index


def slice_columns(part: pl.DataFrame, settings: EvaluationSettings) -> tuple[SliceColumn, ...]:
    """The slices of each slice column that the rows have.

    A column of numbers with many values is cut at its quartiles, so that a length or a count can be sliced as it is; of
    one of anything else the rarest values become one slice.

    Args:
        part: Rows of one model.
        settings: Names the columns, and how many slices a column may have.
    """
    return tuple(
        _slices(column, _named(part[column], settings.most_slices))
        for column in settings.slice_columns
        if column in part.columns
    )


def _slices(column: str, named: pl.Series) -> SliceColumn:
    values = named.unique().sort()
    codes = named.to_frame("value").join(
        values.to_frame("value").with_row_index("code"), on="value", how="left", nulls_equal=True, maintain_order="left"
    )
    return SliceColumn(
        tuple(f"{column}={value}" for value in values.to_list()), codes["code"].to_numpy().astype(np.int32)
    )


def _named(values: pl.Series, most: int) -> pl.Series:
    """Each row's slice by name; null where the row has no value."""
    if values.dtype.is_numeric() and values.n_unique() > most:
        return _ranges(values)
    text = _as_text(values)
    if text.n_unique() <= most:
        return text
    counts = text.drop_nulls().value_counts(name="rows").sort(["rows", text.name], descending=[True, False])
    kept = counts.head(most - 1)[text.name].implode()
    value = pl.col(text.name)
    frame = text.to_frame().select(pl.when(value.is_null() | value.is_in(kept)).then(value).otherwise(pl.lit(OTHER)))
    return frame.to_series()


def _as_text(values: pl.Series) -> pl.Series:
    """Values as text; lists and structs too, which no cast takes."""
    if values.dtype.is_nested():
        if _holds_bytes(values.dtype):
            raise EvaluationError(f"column '{values.name}' holds bytes in {values.dtype}, which name no slice.")
        return values.to_frame("value").select(pl.struct("value").struct.json_encode()).to_series().alias(values.name)
    return values.cast(pl.String)


def _holds_bytes(kind: object) -> bool:
    if isinstance(kind, pl.Struct):
        return any(_holds_bytes(field.dtype) for field in kind.fields)
    if isinstance(kind, pl.List | pl.Array):
        return _holds_bytes(kind.inner)
    return isinstance(kind, pl.Binary)


def _ranges(values: pl.Series) -> pl.Series:
    """The quarter of the distribution that each number is in, by its least and greatest number."""
    whole = values.dtype.is_integer()
    numbers = values.cast(pl.Float64).fill_nan(None)
    edges = [float(numbers.quantile(index / _RANGES, "nearest") or 0.0) for index in range(1, _RANGES)]
    part = np.searchsorted(edges, numbers.fill_null(0.0).to_numpy(), side="left")
    frame = pl.DataFrame({"number": numbers, "part": pl.Series(part).cast(pl.Int64)})
    ends = [end.over("part") for end in (pl.col("number").min(), pl.col("number").max())]
    told = [(end.cast(pl.Int64) if whole else end.round_sig_figs(4)).cast(pl.String) for end in ends]
    # Numbered, so that the names sort as the ranges do.
    name = pl.format("{}: {} to {}", pl.col("part") + 1, *told)
    return frame.select(pl.when(pl.col("number").is_not_null()).then(name)).to_series()
