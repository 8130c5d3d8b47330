"""Every value of a table is checked, and what is said of a broken one never shows a value."""

from datetime import UTC, datetime

import pandera.polars as pa
import polars as pl
import pytest
from pandera.backends.polars import builtin_checks  # noqa: F401  registers what pandera's own checks ask

from thumbline.pipeline.errors import TableError
from thumbline.pipeline.tables import TABLES, checks, describe_table, polars_schema, validate
from thumbline.pipeline.tables.columns import ID, NON_EMPTY, NON_NEGATIVE, PROBABILITY
from thumbline.pipeline.tables.contract import above, at_least, at_most
from thumbline.pipeline.tables.schemas import problems_of

LOGPS = pl.DataFrame(
    {"sequence_id": ["a" * 32, "b" * 32], "logps": [-1.5, 0.0], "token_count": [3, 1]},
    schema=polars_schema("reference"),
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logps": [-1.0, float("nan")]}, "column 'logps' fails not_nullable|column 'logps' fails .*0.0"),
        ({"logps": [-1.0, 2.0]}, r"column 'logps' fails less_than_or_equal_to\(0.0\) \(1\)"),
        ({"sequence_id": ["a" * 32] * 2}, "column 'sequence_id' fails field_uniqueness"),
        ({"sequence_id": ["a" * 32, "row 1"]}, "column 'sequence_id' fails str_matches"),
        ({"token_count": [1, 0]}, "column 'token_count' fails greater_than_or_equal_to"),
    ],
)
def test_values_are_checked_not_only_types(change, message):
    broken = LOGPS.with_columns(pl.Series(name, values) for name, values in change.items())
    with pytest.raises(TableError, match=message):
        validate("reference", broken)


@pytest.mark.parametrize("last", ["0", "9", "a", "f", "/", ":", "`", "g", "A", "\x00", "", "00", "\u0660", "\n"])
def test_ids_all_fit_where_each_of_them_does(last):
    rows = pl.DataFrame({"id": ["0123456789abcdef" * 2, "0" * 31 + last, None]})
    all_fit, each_fits = rows.select(ID.of_all(pl.col("id")), each=ID.asks(pl.col("id")).all()).row(0)
    assert all_fit == each_fits == (last in {"0", "9", "a", "f"})


def test_missing_and_surplus_columns_are_named():
    with pytest.raises(TableError, match="column 'logps' is missing"):
        validate("reference", LOGPS.drop("logps"))
    with pytest.raises(TableError, match="column 'more' is not part of it"):
        validate("reference", LOGPS.with_columns(more=1))


def test_a_broken_table_never_shows_its_values():
    with pytest.raises(TableError) as caught:
        validate("reference", LOGPS.with_columns(sequence_id=pl.Series(["my secret text", "b" * 32])))
    assert "secret" not in str(caught.value)


def test_repeats_are_seen_across_batches():
    with pytest.raises(TableError, match="key \\(sequence_id\\) repeats"):
        validate("reference", pl.concat([LOGPS, LOGPS]), rows_per_check=1)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_accepts_no_rows_and_can_be_described(table):
    validate(table, pl.DataFrame(schema=polars_schema(table)))
    whole = polars_schema(table, optional=True)
    validate(table, pl.DataFrame(schema=whole))
    assert [row["column"] for row in describe_table(table)] == whole.names()


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(TableError, match="Did you mean 'pairs'"):
        validate("pair", LOGPS)


_VALUES = {
    pl.String: ["a" * 32, "b" * 32, "A" * 32, "x", "", "a" * 31 + "\n", None],
    pl.Float64: [1.0, 0.0, 0.5, 1.5, -0.5, float("nan"), float("inf"), None],
    pl.Int64: [1, 2, 0, -1, None],
}


def _fitting(table: str) -> pl.DataFrame:
    """Two rows that fit."""
    columns = {}
    for name, kind in polars_schema(table, optional=True).items():
        values = _VALUES.get(type(kind), [None])[:2]
        if kind == pl.Float64:
            values = [-0.5] if name.endswith("logps") else [1.0]
        if isinstance(kind, pl.Enum):
            values = list(kind.categories[:2])
        others = {pl.Boolean: [True, False], pl.Datetime: [datetime(2026, 1, 1, tzinfo=UTC)] * 2, pl.List: [[], []]}
        columns[name] = pl.Series(name, others.get(type(kind), (values * 2)[:2]), dtype=kind)
    return pl.DataFrame(columns)


@pytest.mark.parametrize("table", ["events", "responses", "pairs", "contradictions", "comparison_drops", "reference"])
def test_what_is_asked_at_once_is_what_pandera_asks(table):
    whole = _fitting(table)
    assert checks._surely_fits(table, whole)
    validate(table, whole)
    for name, kind in whole.schema.items():
        for value in _VALUES.get(type(kind), [None]):
            changed = pl.concat([whole.head(1), whole.tail(1).with_columns(pl.lit(value, dtype=kind).alias(name))])
            refused = bool(problems_of(table, changed))
            assert checks._surely_fits(table, changed) is not refused, f"{name} = {value!r}"


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_its_checks_asked_at_once(table):
    for optional in (False, True):
        assert checks._surely_fits(table, polars_schema(table, optional=optional).to_frame())
    asked = checks._requirements(table, tuple(polars_schema(table)))
    expected = sum(
        len(column.checks) + (not column.nullable) + column.unique
        for column in TABLES[table].columns.values()
        if column.required
    )
    assert len(asked) >= expected


@pytest.mark.parametrize(
    ("check", "theirs"),
    [
        (ID, pa.Check.str_matches("^[0-9a-f]{32}$")),
        (NON_EMPTY, pa.Check.str_length(min_value=1)),
        (NON_NEGATIVE, pa.Check.ge(0)),
        (PROBABILITY, pa.Check.in_range(0.0, 1.0)),
        (at_least(1.0), pa.Check.ge(1.0)),
        (at_most(0.0), pa.Check.le(0.0)),
        (above(0.0), pa.Check.gt(0.0)),
    ],
)
def test_a_check_is_what_pandera_has_under_that_name(check, theirs):
    assert check.name == theirs.error
    values = pl.Series("value", _VALUES[pl.String if check in (ID, NON_EMPTY) else pl.Float64])
    ours = values.to_frame().select(fits=check.asks(pl.col("value")).fill_null(True))["fits"].to_list()
    schema = pa.DataFrameSchema({"value": pa.Column(values.dtype, theirs, nullable=True)})
    for value, fits in zip(values, ours, strict=True):
        row = pl.DataFrame({"value": [value]}, schema={"value": values.dtype})
        try:
            schema.validate(row)
        except pa.errors.SchemaError:
            assert not fits, value
        else:
            assert fits, value
