"""What was seen of rows beside their events: counted once a row, and never of a row that gave none."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.reading.remarks import (
    UNREAD,
    ReadRow,
    Remark,
    as_notes,
    holds_text,
    in_words,
    remade,
    remark,
    remarking,
    text_columns,
)
from thumbline.pipeline.stages.events import ingest

ROW = {"prompt": "p", "response": "r", "feedback": "up", "comment": "Too long.", "page": {"path": "/a"}, "took": 3}


def said(folder: Path, rows: list[dict[str, Any]], **config: Any) -> dict[str, dict[str, int]]:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    notes = ingest(EventsConfig.model_validate({"inputs": [str(path)], **config})).notes
    assert notes["said"] == in_words(notes["remarks"])
    remarks: dict[str, dict[str, int]] = notes["remarks"]
    return remarks


def test_columns_of_text_that_no_one_asked_for_are_counted_by_row(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"response": "s", "comment": ""}, ROW | {"response": "t", "page": {"path": None}}]
    assert said(tmp_path, rows) == {UNREAD: {"comment": 2, "page": 2}}


def test_a_row_that_gave_no_event_is_not_counted(tmp_path: Path) -> None:
    assert said(tmp_path, [ROW, ROW | {"feedback": "meh"}, ROW | {"response": " "}])[UNREAD]["comment"] == 1


def test_lines_read_fast_and_lines_read_one_at_a_time_are_counted_together(tmp_path: Path) -> None:
    plain = {name: value for name, value in ROW.items() if name != "page"}
    rows = [plain | {"response": str(number)} for number in range(20)]
    rows[7] |= {"extra": "x"}
    rows[9] |= {"comment": 5}
    rows[11] |= {"took": "long"}
    assert said(tmp_path, rows) == {UNREAD: {"comment": 19, "extra": 1, "took": 1}}


def test_a_log_whose_columns_are_all_read_has_nothing_said_of_it(tmp_path: Path) -> None:
    assert said(tmp_path, [{"prompt": "p", "completion": "c", "label": True, "seed": 1, "note": None}]) == {}


@pytest.mark.parametrize(
    "take",
    [
        lambda row: row["a"],
        lambda row: row.get("a"),
        lambda row: row.pop("a"),
        lambda row: {**row}["a"],
        lambda row: dict(row)["a"],
        lambda row: (row | {"b": 1})["a"],
        lambda row: ({"b": 1} | row)["a"],
        lambda row: dict(row.items())["a"],
        lambda row: next(iter(row.values())),
        lambda row: copy.deepcopy(row)["a"],
    ],
)
def test_every_way_to_a_value_counts_as_asking_for_it(take: Callable[[ReadRow], Any]) -> None:
    row = ReadRow({"a": "x"})
    assert take(row) == "x"
    assert row.asked == {"a"}


def test_a_row_under_other_names_asks_under_the_names_of_the_log() -> None:
    row = ReadRow({"trace_id": "x", "user_id": "y"})
    other = remade(row, lambda name, value: (name.replace("_id", "Id"), value.upper()))
    assert not row.asked
    assert other["traceId"] == "X"
    assert row.asked == {"trace_id"}


def test_looking_at_names_asks_for_nothing() -> None:
    row = ReadRow({"a": "x"})
    assert "a" in row and list(row) == ["a"] and row.keys() >= {"a"} and len(row) == 1
    assert text_columns(row) == ["a"]
    assert not row.asked


@pytest.mark.parametrize("value", ["x", " ", ["x"], {"a": {"b": ["x"]}}, [1, {"role": "user"}]])
def test_values_that_hold_text(value: object) -> None:
    assert holds_text(value)


@pytest.mark.parametrize("value", ["", 1, None, True, [], {}, [None, {"a": ""}, 3]])
def test_values_that_hold_none(value: object) -> None:
    assert not holds_text(value)


def test_a_remark_goes_to_the_row_that_is_open_and_nowhere_else() -> None:
    remark("kind", "outside")
    with remarking() as outer:
        remark("kind", "a")
        with remarking() as inner:
            remark("kind", "b")
        remark("kind", "c")
    assert (outer, inner) == ([Remark("kind", "a"), Remark("kind", "c")], [Remark("kind", "b")])


def test_words_name_the_most_frequent_first_and_say_how_many_are_left() -> None:
    notes = as_notes({Remark(UNREAD, f"c{number:02d}"): 1 + (number == 13) for number in range(14)})
    (sentence,) = in_words(notes)
    assert sentence.startswith("columns of text that were not read: c13 (2 rows), c00 (1 row), ")
    assert sentence.endswith("c10 (1 row), and 2 more")
