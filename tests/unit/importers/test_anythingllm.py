"""AnythingLLM: GOOD, BAD and --, in JSON, in CSV and from the API."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_anythingllm import chat, write
from tests.unit.importers.logs import read, read_lines, reasons, user, votes
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.ingest.event_ids import pseudonym


def csv_of(folder: Path, *rows: dict[str, Any]) -> Path:
    """The rows as the tool writes CSV: every cell quoted, line breaks as spaces, no attachments."""
    path = folder / "chats.csv"
    plain = [
        {name: str(value).replace("\n", " ") for name, value in row.items() if name != "attachments"} for row in rows
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(plain[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain)
    return path


def test_the_json_export(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert set(result.events["format"]) == {"anythingllm"}
    assert votes(result) == [
        ("Rinse part 1.\nThen dry it.", "up"),
        ("Rinse part 2.\nThen dry it.", "down"),
        ("Rinse part 3.\nThen dry it.", "unrated"),
    ]
    event = result.events.filter(vote="up").to_dicts()[0]
    assert event["prompt"] == [user("How is part 1 cleaned?")]
    assert event["created_at"] == datetime(2026, 4, 1, 9, 30, tzinfo=UTC)
    assert event["user_id"] == pseudonym("uma", "thumbline")
    assert sorted(reasons(result)) == ["not_text", "unknown_label"]
    assert result.notes["remarks"]["prompt_without_history"] == {"prompt": 3}
    assert "line_breaks_lost" not in result.notes["remarks"]


def test_the_csv_export_says_that_its_line_breaks_are_lost(tmp_path: Path) -> None:
    date = "Wed Apr 01 2026 11:30:00 GMT+0200 (Central European Summer Time)"
    result = read(csv_of(tmp_path, chat(1, "GOOD", sent_at=date), chat(2, "BAD")))
    assert votes(result) == [("Rinse part 1. Then dry it.", "up"), ("Rinse part 2. Then dry it.", "down")]
    assert result.events.filter(vote="up")["created_at"].to_list() == [datetime(2026, 4, 1, 9, 30, tzinfo=UTC)]
    assert result.notes["remarks"]["line_breaks_lost"] == {"response": 2}


def test_chats_as_the_api_lists_them(tmp_path: Path) -> None:
    rows = [
        {"id": n, "prompt": "Why?", "response": json.dumps({"text": f"So {n}.", "sources": []}), "feedbackScore": score}
        for n, score in enumerate((True, False, None, 1))
    ]
    result = read_lines(tmp_path, *rows)
    assert votes(result) == [("So 0.", "up"), ("So 1.", "down"), ("So 2.", "unrated")]
    assert reasons(result) == ["unknown_label"]
    stated = read_lines(tmp_path, *rows, options={"up": "1"})
    assert ("So 3.", "up") in votes(stated)


@pytest.mark.parametrize("name", ["API", "unknown user"])
def test_a_chat_of_no_user_has_none(tmp_path: Path, name: str) -> None:
    assert read_lines(tmp_path, chat(1, "GOOD", username=name)).events["user_id"].to_list() == [None]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"prompt": ""}, "empty_prompt"), ({"response": None}, "missing_field"), ({"response": " "}, "empty_completion")],
)
def test_a_chat_without_both_texts_is_rejected(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reasons(read_lines(tmp_path, chat(1, "GOOD", **changes))) == [reason]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
        {"instruction": "Be kind.", "input": "Why?", "output": "So."},
    ],
)
def test_exports_for_fine_tuning_are_refused_since_they_hold_no_votes(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="examples without a vote.*AnythingLLM"):
        read_lines(tmp_path, row)
