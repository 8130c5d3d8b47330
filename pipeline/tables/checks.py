"""Whether rows fit their table."""

import pandera.polars as pa
import polars as pl

from ..errors import InputError, TableError, examples
from .registry import schema_of

ROWS_PER_CHECK = 1_000_000


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
