"""pandera schemas of tables, made of what is declared; imported only where rows do not surely fit."""

from functools import cache

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.errors import SchemaErrors

from .contract import Check, Column
from .registry import table_named


@cache
def schema_of(table: str) -> pa.DataFrameSchema:
    """The schema of `table`.

    Raises:
        TableError: There is no table of that name.
    """
    declared = table_named(table)
    columns = {name: _column(column) for name, column in declared.columns.items()}
    return pa.DataFrameSchema(columns, strict=True, ordered=True, unique=list(declared.unique) or None)


def _column(column: Column) -> pa.Column:
    return pa.Column(
        column.kind,
        [_check(check) for check in column.checks],
        nullable=column.nullable,
        required=column.required,
        unique=column.unique,
    )


def _check(check: Check) -> pa.Check:
    def fits(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(check.asks(pl.col(data.key)))

    return pa.Check(fits, name=check.name, error=check.name)


def problems_of(table: str, rows: pl.DataFrame) -> list[str]:
    """One entry a failed case: the column and the check, without the value."""
    try:
        schema_of(table).validate(rows, lazy=True)
    except SchemaErrors as errors:
        return [_describe(case) for case in errors.failure_cases.iter_rows(named=True)]
    return []


def _describe(case: dict[str, object]) -> str:
    """A failed case in words; a missing or a surplus column has its name where values have theirs."""
    if case["check"] == "column_in_dataframe":
        return f"column '{case['failure_case']}' is missing"
    if case["check"] == "column_in_schema":
        return f"column '{case['failure_case']}' is not part of it"
    return f"column '{case['column']}' fails {case['check']}"
