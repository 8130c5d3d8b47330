"""Lines, arrays, CSV and Parquet: how rows are found in each, and what a fault in one costs."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thumbline.pipeline.reading import json_array, streams
from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.records import Record, Reject

LIMIT = 2_000


def rows_of(path: Path, data: bytes, limit: int = LIMIT) -> list[Record | Reject]:
    path.write_bytes(data)
    return list(FileSource(path, path.name, limit).rows())


def summary(rows: list[Record | Reject]) -> list[tuple[int, Any]]:
    """Line and value of a record, line and reason of a reject."""
    return [(row.line, row.value if isinstance(row, Record) else row.reason) for row in rows]


def test_lines_keep_their_numbers_over_blank_and_broken_ones(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf{"a": 1}\r\n\n   \n{broken\n{"a": 2}'
    assert summary(rows_of(tmp_path / "x.jsonl", data)) == [(1, {"a": 1}), (4, "broken_json"), (5, {"a": 2})]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
def test_a_long_line_is_rejected_alone_and_its_raw_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", chunk_bytes)
    long = b'{"a": "' + b"x" * 3_000 + b'"}'
    fits = b'{"a": "' + b"y" * (LIMIT - 9) + b'"}'
    rows = rows_of(tmp_path / "x.jsonl", b"\n".join([b'{"a": 1}', long, fits, long, b'{"a": 2}', long]))
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.reason for row in rows if isinstance(row, Reject)] == ["line_too_long"] * 3
    assert {len(row.raw) for row in rows if isinstance(row, Reject)} == {2_000}


def test_an_array_gives_its_elements_as_rows(tmp_path: Path) -> None:
    data = b' [ {"a": "],[{"}, {"a": [1, {"b": "\\""}]} ,7, {bad}, {"a": {}}\n] \n'
    assert summary(rows_of(tmp_path / "x.json", data)) == [
        (1, {"a": "],[{"}),
        (2, {"a": [1, {"b": '"'}]}),
        (3, "not_an_object"),
        (4, "broken_json"),
        (5, {"a": {}}),
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'[{"a": 1}, {"a": 2', [(1, {"a": 1}), (2, "broken_json")]),
        (b'[{"a": 1}, {"a": "open]', [(1, {"a": 1}), (2, "broken_json")]),
        (b'[{"a": 1},, {"a": 2}]', [(1, {"a": 1}), (2, "broken_json"), (3, {"a": 2})]),
        (b'[{"a": 1}}, {"a": 2}]', [(1, "broken_json"), (2, {"a": 2})]),
        (b'[{"a": 1}] trailing', [(1, {"a": 1}), (2, "broken_json")]),
        (b'[{"a": 1},]', [(1, {"a": 1})]),
        (b"[]", [(0, "empty_file")]),
        (b"[", [(1, "broken_json")]),
    ],
)
def test_damaged_arrays_keep_the_elements_before_the_damage(
    tmp_path: Path, data: bytes, expected: list[tuple[int, Any]]
) -> None:
    assert summary(rows_of(tmp_path / "x.json", data)) == expected


@pytest.mark.parametrize("chunk_bytes", [1, 5, 64, 1 << 20])
def test_a_long_element_is_rejected_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", chunk_bytes)
    long_text = json.dumps({"a": '\\"' * 2_000 + "],{"}).encode()
    long_list = json.dumps({"a": [[1, "x"]] * 1_000}).encode()
    data = b"[" + b",".join([b'{"a": 1}', long_text, b'{"a": 2}', long_list, b'{"a": 3}']) + b"]"
    assert summary(rows_of(tmp_path / "x.json", data)) == [
        (1, {"a": 1}),
        (2, "line_too_long"),
        (3, {"a": 2}),
        (4, "line_too_long"),
        (5, {"a": 3}),
    ]


def test_memory_of_a_long_element_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", 1_000)
    path = tmp_path / "x.json"
    path.write_bytes(b'["' + b"x" * 200_000 + b'", ' + b"[1]," * 50_000 + b'{"a": 1}]' + b"z" * 100_000)
    splitter = json_array._ArraySplitter(LIMIT)
    largest = 0
    for chunk in streams.read_chunks(path):
        list(splitter.feed(chunk))
        largest = max(largest, len(splitter._buffer))
    assert largest <= LIMIT + 8_000 + 1_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.text('a"\\,[]{}'), st.text('a"\\,[]{}') | st.lists(st.integers())), min_size=1),
    st.integers(1, 9),
)
def test_an_array_is_split_where_the_standard_library_splits_it(
    tmp_path: Path, value: list[dict[str, Any]], chunk_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_CHUNK_BYTES", chunk_bytes)
        rows = rows_of(tmp_path / "x.json", json.dumps(value).encode(), limit=10_000)
    assert summary(rows) == list(enumerate(value, start=1))


def test_csv_cells_with_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    data = b'a,b\r\n1,"x, ""y""\r\nz"\r\n\r\n,\r\n"",end'
    assert summary(rows_of(tmp_path / "x.csv", data)) == [
        (2, {"a": "1", "b": 'x, "y"\r\nz'}),
        (5, {"a": None, "b": None}),
        (6, {"a": None, "b": "end"}),
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"1", "wrong_column_count"),
        (b"1,2,3", "wrong_column_count"),
        (b'1,"open', "broken_csv"),
        (b'1,5" pipe', "broken_csv"),
        (b'1,"x"y', "broken_csv"),
        (b"1,\xff", "invalid_utf8"),
        (b"1,\x00", "nul_character"),
        (b"1," + b"x" * 3_000, "line_too_long"),
        (b'1,"' + b"x" * 3_000, "line_too_long"),
    ],
)
def test_a_bad_csv_row_costs_no_row_after_it(tmp_path: Path, bad: bytes, reason: str) -> None:
    good = b'3,"two\nlines"\n4,x\n'
    rows = summary(rows_of(tmp_path / "x.csv", b"a,b\n0,x\n" + bad + b"\n" + good * 2))
    assert rows[:2] == [(2, {"a": "0", "b": "x"}), (3, reason)]
    expected = [{"a": "3", "b": "two\nlines"}, {"a": "4", "b": "x"}] * 2
    assert [value for _, value in rows[2:]] == expected


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(tmp_path: Path) -> None:
    data = b'a,b\n1,"x\n2,y\n3,z\n4,w"w\n5,v\n'
    assert summary(rows_of(tmp_path / "x.csv", data)) == [
        (2, "broken_csv"),
        (3, {"a": "2", "b": "y"}),
        (4, {"a": "3", "b": "z"}),
        (5, "broken_csv"),
        (6, {"a": "5", "b": "v"}),
    ]


def test_a_csv_header_must_be_clear(tmp_path: Path) -> None:
    assert summary(rows_of(tmp_path / "x.csv", b"a,a\n1,2\n")) == [(1, "duplicate_key")]
    assert summary(rows_of(tmp_path / "x.csv", b"a,b\n")) == [(0, "empty_file")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.text('ab,"\n\r ', max_size=6)] * 2), min_size=1, max_size=5))
def test_csv_as_the_standard_library_writes_it(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    found = rows_of(tmp_path / "x.csv", text.getvalue().encode())
    assert [row.value for row in found if isinstance(row, Record)] == [
        {"a": a or None, "b": b or None} for a, b in rows
    ]


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst"])
def test_compressed_files_of_several_members(tmp_path: Path, name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else (lambda data: pa.compress(data, codec="zstd", asbytes=True))
    parts = [b'{"a": 1}\n{"a"', b": 2}\n", b'{"a": 3}']
    rows = rows_of(tmp_path / name, b"".join(map(pack, parts)))
    assert summary(rows) == [(1, {"a": 1}), (2, {"a": 2}), (3, {"a": 3})]


def test_zeros_after_gzip_are_padding_and_anything_else_is_not(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": 1}\n')
    assert summary(rows_of(tmp_path / "x.jsonl.gz", packed + bytes(600))) == [(1, {"a": 1})]
    assert summary(rows_of(tmp_path / "x.jsonl.gz", packed + b"more")) == [(1, {"a": 1}), (2, "corrupt_stream")]


def test_content_is_recognised_without_its_suffix_and_a_wrong_suffix_is_said(tmp_path: Path) -> None:
    assert summary(rows_of(tmp_path / "x.jsonl", gzip.compress(b'{"a": 1}'))) == [(1, {"a": 1})]
    assert summary(rows_of(tmp_path / "x.jsonl.gz", b'{"a": 1}')) == [(1, "corrupt_stream")]


def test_parquet_rows_and_a_long_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y" * 3_000, "nul \x00"]})
    frame.write_parquet(path)
    rows = list(FileSource(path, "x.parquet", LIMIT).rows())
    assert summary(rows) == [(1, {"a": 1, "b": "x"}), (2, "line_too_long"), (3, "nul_character")]
    frame.clear().write_parquet(path)
    assert summary(list(FileSource(path, "x.parquet", LIMIT).rows())) == [(0, "empty_file")]


def test_a_parquet_text_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    texts = pa.array([b"fine", b"\xff\xfe", b"also"], pa.binary()).view(pa.string())
    pa.parquet.write_table(pa.table({"a": texts}), path)
    assert summary(list(FileSource(path, "x.parquet", LIMIT).rows())) == [
        (1, {"a": "fine"}),
        (2, "invalid_utf8"),
        (3, {"a": "also"}),
    ]
