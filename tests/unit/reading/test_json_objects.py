"""Objects over several lines are rows of a .json file, and a fault in one costs its own lines."""

import json
from pathlib import Path

import pytest

from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.records import Record, Reject

OBJECTS = [{"a": 1, "b": {"c": ["x", "}"]}}, {"a": 2}, {"a": {}}]


def rows_of(path: Path, text: str, limit: int = 2_000) -> list[tuple[int, object]]:
    path.write_text(text, encoding="utf-8")
    rows = list(FileSource(path, path.name, limit).rows())
    return [(row.line, row.value if isinstance(row, Record) else row.reason) for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("between", ["\n", ",\n", "\n\n"])
def test_one_object_or_several(tmp_path: Path, between: str, end: str) -> None:
    texts = [json.dumps(value, indent=2) for value in OBJECTS]
    assert rows_of(tmp_path / "x.json", texts[0].replace("\n", end)) == [(1, OBJECTS[0])]
    found = rows_of(tmp_path / "x.json", between.join(texts).replace("\n", end))
    assert [value for _, value in found] == OBJECTS


def test_a_row_is_numbered_by_its_first_line(tmp_path: Path) -> None:
    text = '{\n  "a": 1\n}\n{"a": 2}\n\n{\n  "a": 3\n}\n'
    assert rows_of(tmp_path / "x.json", text) == [(1, {"a": 1}), (4, {"a": 2}), (6, {"a": 3})]


def test_lines_of_objects_are_read_as_before(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.json", '{"a": 1}\n{"a": 2}\n') == [(1, {"a": 1}), (2, {"a": 2})]
    # A lone brace is a broken line and costs no other.
    assert rows_of(tmp_path / "x.jsonl", '{\n{"a": 2}\n}\n') == [
        (1, "broken_json"),
        (2, {"a": 2}),
        (3, "broken_json"),
    ]


def test_beginnings_that_never_end_take_no_longer_than_their_lines(tmp_path: Path) -> None:
    found = rows_of(tmp_path / "x.json", "{\n" * 20_000, limit=1_000_000)
    assert [reason for _, reason in found] == ["broken_json"] * 20_000


def test_an_object_that_does_not_end_or_is_too_long(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.json", '{\n  "a": 1\n}\n{\n{"a": 2}\n') == [
        (1, {"a": 1}),
        (4, "broken_json"),
        (5, {"a": 2}),
    ]
    text = '{\n  "a": "' + "x" * 50 + '",\n  "b": "' + "y" * 50 + '"\n}\n{"a": 2}\n'
    found = rows_of(tmp_path / "x.json", text, limit=80)
    assert found[0] == (1, "line_too_long")
    assert found[-1] == (5, {"a": 2})
    assert {line for line, _ in found} == {1, 2, 3, 4, 5}


def test_a_damaged_stream_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "x.json.gz"
    path.write_bytes(b"\x1f\x8bno")
    (row,) = FileSource(path, path.name, 2_000).rows()
    assert isinstance(row, Reject)
    assert row.reason == "corrupt_stream"
