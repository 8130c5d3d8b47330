"""Ways to damage a table: its columns' types, names, order and values."""

import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from tests.fuzz.operators import chance, pick

_NUMBERS: Final = (
    float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e-320, 0.0, -0.0, 1.0, -1.0, 2.0, -1e9, 0.009, None,
)  # fmt: skip
_WHOLE: Final = (0, -1, 1, 2, 2**31, 2**63 - 1, -(2**63), None)
_TEXTS: Final = ("", " ", "x", "\x00", "a\x1b[31m", "[red]", "\U0001f642", "k" * 10_000, "p00000", None)
_TYPES: Final = (
    pl.String, pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Boolean, pl.Categorical, pl.Date, pl.Datetime("ns"),
    pl.Binary, pl.Null, pl.Duration("us"), pl.Decimal(38, 5), pl.Int128,
)  # fmt: skip
_Damage = Callable[[pl.DataFrame, str, np.random.Generator], pl.DataFrame]


def _cell(frame: pl.DataFrame, name: str, random: np.random.Generator) -> pl.DataFrame:
    column = frame[name]
    among: Any = _TEXTS
    if column.dtype.is_float() or column.dtype.is_integer():
        among = _NUMBERS if column.dtype.is_float() else _WHOLE
    elif column.dtype == pl.Boolean:
        among = (None, True, False)
    values = column.to_list()
    everywhere = chance(random, 0.2)
    value = pick(random, among)
    at = int(random.integers(0, max(len(values), 1)))
    changed = [value if everywhere or place == at else old for place, old in enumerate(values)]
    return frame.with_columns(pl.Series(name, changed, dtype=column.dtype, strict=False))


def _cast(frame: pl.DataFrame, name: str, random: np.random.Generator) -> pl.DataFrame:
    return frame.with_columns(pl.col(name).cast(pick(random, _TYPES), strict=False))


def _nested(frame: pl.DataFrame, name: str, random: np.random.Generator) -> pl.DataFrame:
    inside = pl.struct(name) if chance(random, 0.5) else pl.concat_list(name, name)
    return frame.with_columns(inside.alias(name))


def _swapped(frame: pl.DataFrame, name: str, random: np.random.Generator) -> pl.DataFrame:
    other = pick(random, frame.columns)
    return frame.with_columns(pl.col(other).alias(name), pl.col(name).alias(other)) if other != name else frame


def _renamed(frame: pl.DataFrame, name: str, random: np.random.Generator) -> pl.DataFrame:
    new = pick(random, [name.upper(), f" {name}", "", "model", "slice", "line", "index", "[x]", "k" * 10_000, "\x00"])
    return frame.rename({name: new}) if new not in frame.columns else frame


_DAMAGE: Final[tuple[_Damage, ...]] = (
    _cell,
    _cell,
    _cell,
    _cast,
    _cast,
    _nested,
    _swapped,
    _renamed,
    lambda frame, name, _: frame.drop(name),
    lambda frame, *_: pl.concat([frame, frame]),
    lambda frame, *_: frame.clear(),
    lambda frame, _, random: frame.head(int(random.integers(0, 4))),
    lambda frame, _, random: frame.select([frame.columns[int(at)] for at in random.permutation(frame.width)]),
)


def damaged_frame(frame: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """A table with one to three changes; one that polars cannot make is left out."""
    for _ in range(int(random.integers(1, 4))):
        if not frame.columns:
            break
        try:
            frame = pick(random, _DAMAGE)(frame, pick(random, frame.columns), random)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
            continue
    return frame


def parquet_of(frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> bytes:
    """A table as a Parquet file; one with a column that Parquet cannot hold without it."""
    stream = io.BytesIO()
    try:
        frame.write_parquet(stream, metadata=None if metadata is None else dict(metadata))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return parquet_of(frame.select(pl.selectors.numeric() | pl.selectors.string()), metadata)
    return stream.getvalue()
