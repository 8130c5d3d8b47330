"""Whether rows fit their table.

pandera takes 6 to 28 ms a call whatever the rows, most of it spent on plans of one check each. So all that a schema
asks is asked first in one plan, made of the schema's own checks; only rows that do not surely fit are given to pandera,
which decides and says what is wrong.
"""

from functools import cache, partial
from typing import Any, Final, cast

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.backends.polars import builtin_checks  # noqa: F401  registers what pandera's own checks ask

from ..errors import InputError, TableError, examples
from .registry import has_columns_of, schema_of

ROWS_PER_CHECK = 1_000_000
_FLOATS: Final = (pl.Float32, pl.Float64)


def validate(
    table: str, frame: pl.DataFrame, *, origin: str | None = None, rows_per_check: int = ROWS_PER_CHECK
) -> pl.DataFrame:
    """`frame` itself, once every column type and every value fits the schema of `table`.

    Args:
        table: A name in `TABLES`.
        frame: Collected rows; a LazyFrame would get a check of types only.
        origin: A file that the user gave. A broken table is then the user's input, not our bug.
        rows_per_check: Rows whose values are checked together.

    Raises:
        TableError: Values or types break the schema (InputError when `origin` is given). The message names
            the columns, the checks and the counts, never the values: they may be private text.
    """
    schema = schema_of(table)
    if _surely_fits(table, frame):
        return frame
    problems: dict[str, int] = {}
    for batch in frame.iter_slices(rows_per_check) if frame.height else [frame]:
        for problem in _problems(schema, batch):
            problems[problem] = problems.get(problem, 0) + 1
    problems.update(_repeats(schema, frame, rows_per_check))
    if problems:
        what = "; ".join(f"{problem} ({count})" for problem, count in sorted(problems.items()))
        message = f"{table}: {frame.height} rows break the table's contract: {what}."
        if origin is not None:
            raise InputError(f"{origin}: {message} See `thumbline tables {table}` for what it must hold.")
        raise TableError(message)
    return frame


class _Asked:
    """Stands for rows where a check says what it selects of them, which is given back as it is."""

    def select(self, asked: pl.Expr) -> pl.Expr:
        """What the check asks of each row."""
        return asked


@cache
def _requirements(table: str, columns: tuple[str, ...]) -> tuple[pl.Expr, ...]:
    """One boolean each: what the schema of `table` asks of the values of these columns, and of all of them."""
    schema = schema_of(table)
    known = {name: schema.columns[name] for name in columns}
    every = [_asked(check, name).all() for name, column in known.items() for check in column.checks]
    every += [_asked(check, None).all() for check in schema.checks]
    for name, column in known.items():
        if not column.nullable:
            every.append(pl.col(name).null_count() == 0)
        if column.dtype.type in _FLOATS and not column.nullable:
            every.append(~pl.col(name).is_nan().any())
        if column.unique:
            every.append(pl.col(name).n_unique() == pl.len())
    if schema.unique:
        every.append(pl.struct(schema.unique).n_unique() == pl.len())
    return tuple(asked.alias(str(place)) for place, asked in enumerate(every))


def _asked(check: pa.Check, column: str | None) -> pl.Expr:
    """What a check asks of each row; rows for which it says neither, those without a value, pass it."""
    asks = partial(check._check_fn, **check._check_kwargs)
    return cast(pl.Expr, asks(PolarsData(cast(Any, _Asked()), cast(str, column))))


def _surely_fits(table: str, frame: pl.DataFrame) -> bool:
    """Whether every type and value fits; where not, pandera is to be asked."""
    if not has_columns_of(table, frame.schema):
        return False
    return all(frame.select(_requirements(table, tuple(frame.columns))).row(0)) if frame.height else True


def _problems(schema: pa.DataFrameSchema, batch: pl.DataFrame) -> list[str]:
    """One entry a failed case: the column and the check, without the value."""
    try:
        schema.validate(batch, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return [_describe(row) for row in errors.failure_cases.iter_rows(named=True)]
    return []


def _describe(case: dict[str, object]) -> str:
    """A failed case in words; a missing or a surplus column has its name where values have theirs."""
    if case["check"] == "column_in_dataframe":
        return f"column '{case['failure_case']}' is missing"
    if case["check"] == "column_in_schema":
        return f"column '{case['failure_case']}' is not part of it"
    return f"column '{case['column']}' fails {case['check']}"


def _repeats(schema: pa.DataFrameSchema, frame: pl.DataFrame, rows_per_check: int) -> dict[str, int]:
    """Uniqueness over the whole table: a check batch by batch cannot see repeats across batches."""
    keys = [[name] for name, column in schema.columns.items() if column.unique]
    if schema.unique:
        keys.append(list(schema.unique))
    found: dict[str, int] = {}
    for key in keys:
        if frame.height <= rows_per_check or not set(key) <= set(frame.columns):
            continue
        repeats = frame.height - frame.select(key).n_unique()
        if repeats:
            found[f"key ({examples(key)}) repeats"] = repeats
    return found
