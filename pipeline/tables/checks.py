"""Whether rows fit their table.

pandera takes 6 to 28 ms a call whatever the rows, most of it spent on plans of one check each, and a second to import.
So all that a table asks is asked first in one plan, made of the checks that its schema has; only rows that do not
surely fit are given to pandera, which decides and says what is wrong.
"""

from functools import cache
from typing import Final

import polars as pl

from ..errors import InputError, TableError, examples
from .contract import Table
from .registry import has_columns_of, table_named

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
    declared = table_named(table)
    if _surely_fits(table, frame):
        return frame
    from .schemas import problems_of

    problems: dict[str, int] = {}
    for batch in frame.iter_slices(rows_per_check) if frame.height else [frame]:
        for problem in problems_of(table, batch):
            problems[problem] = problems.get(problem, 0) + 1
    problems.update(_repeats(declared, frame, rows_per_check))
    if problems:
        what = "; ".join(f"{problem} ({count})" for problem, count in sorted(problems.items()))
        message = f"{table}: {frame.height} rows break the table's contract: {what}."
        if origin is not None:
            raise InputError(f"{origin}: {message} See `thumbline tables {table}` for what it must hold.")
        raise TableError(message)
    return frame


@cache
def _requirements(table: str, columns: tuple[str, ...]) -> tuple[pl.Expr, ...]:
    """One boolean each: what `table` asks of the values of these columns, and of all of them."""
    declared = table_named(table)
    known = {name: declared.columns[name] for name in columns}
    every = [check.of_all(pl.col(name)) for name, column in known.items() for check in column.checks]
    for name, column in known.items():
        if not column.nullable:
            every.append(pl.col(name).null_count() == 0)
        if column.kind in _FLOATS and not column.nullable:
            every.append(~pl.col(name).is_nan().any())
        if column.unique:
            every.append(pl.col(name).n_unique() == pl.len())
    if declared.unique:
        every.append(pl.struct(declared.unique).n_unique() == pl.len())
    return tuple(asked.alias(str(place)) for place, asked in enumerate(every))


def _surely_fits(table: str, frame: pl.DataFrame) -> bool:
    """Whether every type and value fits; where not, pandera is to be asked."""
    if not has_columns_of(table, frame.schema):
        return False
    return all(frame.select(_requirements(table, tuple(frame.columns))).row(0)) if frame.height else True


def _repeats(declared: Table, frame: pl.DataFrame, rows_per_check: int) -> dict[str, int]:
    """Uniqueness over the whole table: a check batch by batch cannot see repeats across batches."""
    keys = [[name] for name, column in declared.columns.items() if column.unique]
    if declared.unique:
        keys.append(list(declared.unique))
    found: dict[str, int] = {}
    for key in keys:
        if frame.height <= rows_per_check or not set(key) <= set(frame.columns):
            continue
        repeats = frame.height - frame.select(key).n_unique()
        if repeats:
            found[f"key ({examples(key)}) repeats"] = repeats
    return found
