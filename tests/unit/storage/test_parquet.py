"""One reader and one writer of Parquet: the same rows give the same bytes, and nothing else opens it."""

import ast
import re
from pathlib import Path

import polars as pl
import pytest

import thumbline.pipeline
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.storage.parquet import (
    ParquetWriter,
    count_rows,
    iter_parquet,
    parquet_bytes,
    read_parquet,
    read_parquet_bytes,
    read_parquet_metadata,
    scan_parquet,
    sink_parquet,
    write_parquet,
)
from thumbline.pipeline.tables import polars_schema

LOGPS = pl.DataFrame(
    {"sequence_id": ["a" * 32, "b" * 32], "logps": [-1.5, 0.0], "token_count": [3, 1]},
    schema=polars_schema("reference"),
)


def test_a_users_cut_file_is_named(tmp_path):
    path = tmp_path / "cut.parquet"
    write_parquet(path, LOGPS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cut.parquet: not readable as Parquet"):
        read_parquet(path)
    with pytest.raises(InputError, match="no such file"):
        read_parquet(tmp_path / "none.parquet")


def test_rows_and_metadata_come_back_from_a_file_and_from_bytes(tmp_path):
    write_parquet(tmp_path / "a.parquet", LOGPS, {"key": "value"})
    assert read_parquet(tmp_path / "a.parquet").equals(LOGPS)
    assert read_parquet(tmp_path / "a.parquet", ["logps"]).equals(LOGPS.select("logps"))
    assert read_parquet_metadata(tmp_path / "a.parquet")["key"] == "value"
    data = parquet_bytes(LOGPS, {"key": "value"})
    assert data == parquet_bytes(LOGPS, {"key": "value"})
    rows, metadata = read_parquet_bytes(data)
    assert rows.equals(LOGPS) and metadata["key"] == "value"
    with pytest.raises(InputError, match="not readable as Parquet"):
        read_parquet_bytes(data[:50])


def opens_parquet(path):
    """Names in a source file that read or write Parquet past the reader and the writer."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"(read|scan|write|sink)_parquet(_\w+)?", node.attr):
            yield node.attr
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if name.startswith("pyarrow.parquet"))


def test_nothing_else_opens_parquet():
    # A user's own rows are read record by record, and by row groups where their columns are plain.
    own = {"storage/parquet.py", "reading/parquet_rows.py", "ingest/fast_parquet.py"}
    root = Path(thumbline.pipeline.__file__).parent
    found = {path.relative_to(root).as_posix(): set(opens_parquet(path)) for path in root.rglob("*.py")}
    assert {path for path, names in found.items() if names} == own


def named(value):
    return pl.DataFrame({"sequence_id": [value], "logps": [0.0]})


@pytest.mark.parametrize(
    "name", ["s[1]", "s*", "s?", "[!x]", "{a,b}", "~", "s3:x", "file:x", "%20", "-x", "k=1", "a\nb"]
)
def test_a_name_is_read_and_written_as_it_is(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    # What the name would stand for if it were a pattern.
    write_parquet(Path("s1/x.parquet"), named("another"))
    own = Path(name) / "x.parquet"
    write_parquet(own, named("own"), {"key": name})
    assert (tmp_path / name / "x.parquet").is_file()
    assert read_parquet(own).equals(named("own"))
    assert scan_parquet(own).collect().equals(named("own"))
    assert read_parquet_metadata(own)["key"] == name
    assert count_rows(own) == 1
    assert pl.concat(iter_parquet(own, ["sequence_id"], 10))["sequence_id"].to_list() == ["own"]
    sunk = Path(name) / "y.parquet"
    assert sink_parquet(sunk, named("own"), [named("own")], 10) == 2
    writer = ParquetWriter(Path(name) / "z.parquet", 10)
    writer.write(named("own"))
    assert writer.close(named("own").schema) == 1
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["x.parquet", "y.parquet", "z.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "s1"])
