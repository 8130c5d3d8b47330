"""Every value of a table is checked, and what is said of a broken one never shows a value."""

import polars as pl
import pytest

from thumbline.pipeline.errors import TableError
from thumbline.pipeline.tables import TABLES, describe_table, polars_schema, validate

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
