"""Tables come back as they were written; how they were cut, read in parts or side by side does not show."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.errors import InputError, TableError
from thumbline.pipeline.storage.parquet import write_parquet
from thumbline.pipeline.storage.tables import (
    read_by_prompt,
    read_parts,
    read_table,
    side_by_side,
    write_table,
    write_table_batches,
    write_tables,
)
from thumbline.pipeline.tables import polars_schema

PARTS = st.lists(st.lists(st.integers(0, 3), min_size=0, max_size=4), min_size=1, max_size=6)

LOGPS = pl.DataFrame(
    {"sequence_id": ["a" * 32, "b" * 32], "logps": [-1.5, 0.0], "token_count": [3, 1]},
    schema=polars_schema("reference"),
)


def logps(count, start=0):
    ids = [f"{number:032x}" for number in range(start, start + count)]
    rows = {"sequence_id": ids, "logps": [-1.0] * count, "token_count": [2] * count}
    return pl.DataFrame(rows, schema=polars_schema("reference"))


def parts_of(counts):
    """Parts of a table that is sorted by prompt; no prompt is in two of them. Each number is a prompt's rows."""
    prompt = 0
    for part in counts:
        rows = []
        for count in part:
            rows += [f"{prompt:04d}"] * count
            prompt += 1
        yield pl.DataFrame({"prompt_id": rows}, schema={"prompt_id": pl.String})


@given(st.lists(PARTS, min_size=1, max_size=3))
def test_tables_side_by_side_have_the_same_prompts_and_lose_no_row(tables):
    parts = list(side_by_side([parts_of(table) for table in tables]))
    whole = [pl.concat(parts_of(table)) for table in tables]
    for place, table in enumerate(whole):
        assert pl.concat(part[place] for part in parts).equals(table)
    prompts = [set().union(*(frame["prompt_id"] for frame in part)) for part in parts]
    assert sum(map(len, prompts)) == len(set().union(*prompts))


def test_no_more_is_held_than_the_largest_parts():
    tables = [[[1] * 5] * 20, [[1] * 50] * 2]
    sizes = [frame.height for part in side_by_side([parts_of(table) for table in tables]) for frame in part]
    assert max(sizes) == 5


def test_how_a_table_was_cut_into_batches_does_not_show(tmp_path):
    whole = write_table_batches(tmp_path / "whole.parquet", "reference", [logps(10)], 4)
    for size in (1, 3, 4, 10):
        batches = logps(10).iter_slices(size)
        assert write_table_batches(tmp_path / "cut.parquet", "reference", batches, 4).sha256 == whole.sha256


def test_every_batch_is_checked_and_nothing_is_left_of_a_table_that_breaks(tmp_path):
    broken = logps(2, start=2).with_columns(logps=pl.lit(0.5))
    with pytest.raises(TableError, match="column 'logps' fails"):
        write_table_batches(tmp_path / "broken.parquet", "reference", [logps(2), broken])
    with pytest.raises(TableError, match="reference: no batch of rows was given"):
        write_table_batches(tmp_path / "none.parquet", "reference", [])
    assert list(tmp_path.iterdir()) == []


def test_tables_side_by_side_break_with_the_first_error_and_leave_nothing(tmp_path):
    broken = [{"reference": logps(2)}, {"reference": logps(2, start=2).with_columns(logps=pl.lit(0.5))}]
    with pytest.raises(TableError, match="column 'logps' fails"):
        write_tables(tmp_path, broken, ["reference"])
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_rows_still_has_its_columns(tmp_path):
    records = write_tables(tmp_path, iter([]), ["reference", "sequences"])
    assert {table: record.rows for table, record in records.items()} == {"reference": 0, "sequences": 0}
    assert read_table(tmp_path / "reference.parquet", "reference").is_empty()
    assert read_table(tmp_path / "sequences.parquet", "sequences").is_empty()


def test_a_table_comes_back_as_it_was_and_the_same_rows_give_the_same_bytes(tmp_path):
    first = write_table(tmp_path / "a.parquet", "reference", LOGPS)
    second = write_table(tmp_path / "b.parquet", "reference", LOGPS)
    assert first.sha256 == second.sha256
    assert read_table(tmp_path / "a.parquet", "reference").equals(LOGPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_parts_are_bounded_or_end_with_a_prompt(tmp_path):
    ids = [f"{number:032x}" for number in (1, 1, 1, 1, 1, 2, 3, 3)]
    table = polars_schema("splits").to_frame().clear(len(ids)).with_columns(prompt_id=pl.Series(ids))
    write_parquet(tmp_path / "splits.parquet", table)
    parts = list(read_parts(tmp_path / "splits.parquet", "splits", part_rows=2))
    assert [part.height for part in parts] == [2, 2, 2, 2]
    assert pl.concat(parts).equals(table)
    whole = list(read_by_prompt(tmp_path / "splits.parquet", "splits", ["prompt_id"], 2))
    assert [part.height for part in whole] == [5, 3]
    assert pl.concat(whole)["prompt_id"].to_list() == ids
    write_parquet(tmp_path / "empty.parquet", table.clear())
    for read in (read_parts, read_by_prompt):
        assert [part.height for part in read(tmp_path / "empty.parquet", "splits")] == [0]


def test_some_columns_and_rows_of_a_table_are_read_without_what_it_may_lack(tmp_path):
    write_parquet(tmp_path / "a.parquet", LOGPS)
    found = read_table(tmp_path / "a.parquet", "reference", ["logps", "token_logps"], pl.col("logps") < 0)
    assert found.to_dict(as_series=False) == {"logps": [-1.5]}
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.parquet", "reference")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match="cut.parquet: not readable as Parquet"):
        read_table(tmp_path / "cut.parquet", "reference", ["logps"])


def test_a_table_of_another_version_is_refused(tmp_path):
    write_parquet(tmp_path / "a.parquet", LOGPS.drop("logps"))
    with pytest.raises(TableError, match="Another version wrote it"):
        read_table(tmp_path / "a.parquet", "reference")
