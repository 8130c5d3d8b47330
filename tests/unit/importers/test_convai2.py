"""ConvAI2: the rules on a small dialog, and the real log's published counts where it lies beside the repository."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.logs import SHARED, message
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import EventsResult, ingest
from thumbline.pipeline.tables import validate

REAL_LOG = SHARED / "convai2" / "data_volunteers.json"


def dialog(*messages: tuple[str, str, object], **changes: object) -> dict[str, Any]:
    entries = [
        {"id": index, "sender_class": sender, "text": text, "evaluation_score": score}
        for index, (sender, text, score) in enumerate(messages)
    ]
    return {
        "dialog": entries,
        "start_time": "2018-10-29 09:08:41",
        "end_time": "2018-10-29 09:10:02.500000",
        "participant1_id": {"class": "User", "user_id": "User 1"},
        "participant2_id": {"class": "Bot", "user_id": "Bot 4"},
        **changes,
    }


def read(folder: Path, *dialogs: dict[str, Any]) -> EventsResult:
    path = folder / "dialogs.json"
    path.write_text(json.dumps(list(dialogs)), encoding="utf-8")
    return ingest(EventsConfig(inputs=(str(path),)))


def test_every_bot_message_is_an_event_with_what_stood_before_it(tmp_path: Path) -> None:
    result = read(
        tmp_path,
        dialog(
            ("Bot", "Hello!", 1),
            ("Human", "Hi.", None),
            ("Human", "Who are you?", None),
            ("Bot", "A bot.", 0),
            ("Bot", "And you?", None),
        ),
    )
    events = result.events.sort(pl.col("prompt").list.len(), "completion").to_dicts()
    assert [(event["completion"], event["vote"]) for event in events] == [
        ("Hello!", "up"),
        ("A bot.", "down"),
        ("And you?", "unrated"),
    ]
    opener, user_turn = message("assistant", "Hello!"), message("user", "Hi.\nWho are you?")
    assert events[0]["prompt"] == []
    assert events[1]["prompt"] == [opener, user_turn]
    assert events[2]["prompt"] == [opener, user_turn, message("assistant", "A bot.")]
    assert {event["created_at"] for event in events} == {datetime(2018, 10, 29, 9, 10, 2, 500_000, tzinfo=UTC)}
    assert {event["model"] for event in events} == {"Bot 4"}
    assert len({event["user_id"] for event in events}) == len({event["conversation_id"] for event in events}) == 1
    assert result.notes["openers"] == 1


def test_two_equal_answers_in_one_dialog_are_two_events(tmp_path: Path) -> None:
    result = read(tmp_path, dialog(("Bot", "Hm.", 1), ("Bot", "Hm.", 1), ("Bot", "Hm.", 1)))
    assert result.counts.rows_out == 3


def test_a_dialog_delivered_twice_is_merged(tmp_path: Path) -> None:
    one = dialog(("Human", "Hi", None), ("Bot", "Hello", 1))
    result = read(tmp_path, one, one)
    assert result.events["deliveries"].to_list() == [2]
    assert result.counts.merged == 1


def test_a_bad_message_costs_itself_and_a_bad_dialog_costs_the_dialog(tmp_path: Path) -> None:
    result = read(
        tmp_path,
        dialog(("Human", "Hi", None), ("Bot", "Hello", 2), ("Bot", " ", 1), ("Bot", "Good", 1)),
        dialog(("Human", "Hi", None)),
        dialog(("Robot", "Hi", None), ("Bot", "Hello", 1)),
        dialog(("Bot", "Hello", 1), participant1_id={"class": "Bot", "user_id": "Bot 1"}),
        dialog(("Bot", "Hello", 1), participant1_id="User 1"),
        dialog(("Bot", "Hello", 1), dialog="Hello"),
    )
    assert result.events["completion"].to_list() == ["Good"]
    assert result.rejects.select("source_line", "reason").rows() == [
        (1, "empty_completion"),
        (1, "unknown_label"),
        (2, "no_completion"),
        (3, "unknown_role"),
        (4, "missing_field"),
        (5, "wrong_type"),
        (6, "wrong_type"),
    ]


@pytest.mark.skipif(not REAL_LOG.is_file(), reason="the ConvAI2 log is not beside the repository")
def test_the_real_log_gives_its_published_counts() -> None:
    result = ingest(EventsConfig(inputs=(str(REAL_LOG),)))
    validate("events", result.events)
    thumbs = result.events.filter(pl.col("vote").is_in(["up", "down"]))
    assert result.notes["records"] == 1_111
    assert result.notes["formats"] == {"convai2": 6_959}
    assert result.notes["votes"] == {"up": 935, "down": 440, "unrated": 5_584}
    assert thumbs.height == 1_375
    assert thumbs["user_id"].n_unique() == 460
    assert _with_both(thumbs, "completion") == 26
    assert thumbs["prompt"].n_unique() == 1_187
    assert _with_both(thumbs, "prompt") == 10


def _with_both(thumbs: pl.DataFrame, key: str) -> int:
    return thumbs.group_by(key).agg(pl.col("vote").n_unique()).filter(pl.col("vote") == 2).height
