"""chat-ui: branches follow `ancestors`, old conversations their order."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_chat_ui import branching, conversation, linear, message, write
from tests.unit.importers.logs import assistant, read, read_lines, reasons, system, user, votes, write_lines
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import ingest

SYSTEM = system("Be brief.")


def test_both_kinds_of_conversation(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("384,400 km.", "up"),
        ("A bot.", "up"),
        ("Far.", "down"),
        ("Hello.", "retracted"),
        ("It varies.", "unrated"),
    ]
    prompts = {event["completion"]: event["prompt"] for event in result.events.to_dicts()}
    assert prompts["Far."] == [user("How far is the moon?")]
    assert prompts["It varies."] == [user("How far is the moon?"), assistant("384,400 km."), user("And Mars?")]
    assert prompts["A bot."] == [SYSTEM, user("Hi"), assistant("Hello."), user("Who are you?")]
    assert set(result.events["conversation_id"]) == {"65f0c0ffee", "old"}
    assert set(result.events["created_at"]) == {datetime(2026, 3, 1, 12, tzinfo=UTC)}


def test_a_parquet_export_holds_scores_as_fractions_where_some_are_missing(tmp_path: Path) -> None:
    rows = [{"id": "u1", "from": "user", "content": "Hi", "ancestors": []}]
    rows += [{"id": f"a{score}", "from": "assistant", "content": f"A{score}", "ancestors": ["u1"]} for score in (1, -1)]
    for row, score in zip(rows, (None, 1.0, -1.0), strict=True):
        row["score"] = score
    pl.DataFrame([{"_id": "c1", "model": "m", "messages": rows}]).write_parquet(tmp_path / "log.parquet")
    assert votes(read(tmp_path / "log.parquet")) == [("A-1", "down"), ("A1", "up")]


@pytest.mark.parametrize("score", [2, 0.5, "1", True, "up"])
def test_a_score_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, score: object) -> None:
    result = read_lines(tmp_path, branching(score))
    assert reasons(result) == ["unknown_label"]
    assert repr(score) in result.rejects["detail"][0]
    assert votes(result) == [("Far.", "down"), ("It varies.", "unrated")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (conversation(message("u1", "user", "Hi")), "no_completion"),
        (conversation(message("a1", "assistant", "Hi", ["gone"])), "broken_history"),
        (conversation(message("a1", "assistant", "Hi", [7])), "wrong_type"),
        (conversation(message("a1", "assistant", "")), "empty_completion"),
        (conversation(message("a1", "robot", "Hi"), message("a2", "assistant", "Ho")), "unknown_label"),
        (conversation(message("a1", "assistant", "Hi"), message("a1", "assistant", "Ho")), "duplicate_key"),
        (conversation(messages=None), "missing_field"),
    ],
)
def test_a_bad_conversation_is_rejected(tmp_path: Path, bad: dict[str, object], reason: str) -> None:
    result = read_lines(tmp_path, linear(), bad)
    assert reasons(result) == [reason]
    assert result.counts.rows_out == 2


def test_messages_beside_a_verdict_of_the_row_are_another_layout(tmp_path: Path) -> None:
    told = [{"from": "user", "content": "Name a lake."}, {"from": "assistant", "content": "Garda."}]
    path = write_lines(tmp_path / "log.jsonl", {"messages": told, "label": True})
    (event,) = ingest(EventsConfig(inputs=(str(path),))).events.to_dicts()
    assert (event["format"], event["completion"], event["vote"]) == ("conversations", "Garda.", "up")
