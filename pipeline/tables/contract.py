"""What tables are declared with: columns, and what their values must fit.

Plain data: pandera, whose schema of a table is the contract between stages, takes a second to import and brings pandas.
`schemas` makes those schemas of what is declared here, once a table does not surely fit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import polars as pl

Kind: TypeAlias = pl.DataType | type[pl.DataType]


class Check(NamedTuple):
    """What the values of a column must fit; a missing value passes.

    Attributes:
        name: As pandera names it, with its bounds; told where a value does not fit.
        words: As a reader is told what values there are.
        asks: Whether a row fits, of the column.
        all_fit: Whether all rows surely fit, of the column; None: where `asks` says so of each.
    """

    name: str
    words: str
    asks: Callable[[pl.Expr], pl.Expr]
    all_fit: Callable[[pl.Expr], pl.Expr] | None = None

    def of_all(self, values: pl.Expr) -> pl.Expr:
        """Whether all rows surely fit, of the column."""
        return self.asks(values).all() if self.all_fit is None else self.all_fit(values)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        kind: Its polars type.
        checks: What each value must fit.
        nullable: Whether values may be missing.
        required: Whether the column itself must be there.
        unique: Whether no two rows have the same value.
    """

    kind: Kind
    checks: tuple[Check, ...] = ()
    nullable: bool = False
    required: bool = True
    unique: bool = False


@dataclass(frozen=True)
class Table:
    """A table of exactly these columns in this order.

    Attributes:
        columns: By their names.
        unique: Columns that together name a row.
    """

    columns: Mapping[str, Column]
    unique: tuple[str, ...] = ()


def column(kind: Kind, *checks: Check, nullable: bool = False, required: bool = True, unique: bool = False) -> Column:
    """A column whose values must be there and fit `checks`."""
    return Column(kind, checks, nullable, required, unique)


def at_least(bound: float) -> Check:
    """Values of `bound` or more."""
    return Check(f"greater_than_or_equal_to({bound})", f"at least {bound}", lambda values: values.ge(bound))


def at_most(bound: float) -> Check:
    """Values of `bound` or less."""
    return Check(f"less_than_or_equal_to({bound})", f"at most {bound}", lambda values: values.le(bound))


def above(bound: float) -> Check:
    """Values of more than `bound`."""
    return Check(f"greater_than({bound})", f"above {bound}", lambda values: values.gt(bound))


def within(least: float, most: float) -> Check:
    """Values from `least` to `most`, both included."""
    return Check(
        f"in_range({least}, {most})",
        f"from {least} to {most}",
        lambda values: values.ge(least).and_(values.le(most)),
    )
