"""LibreChat's messages one a row: the same events as of the conversation's export."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.importers.fixtures_librechat import conversation, messages
from tests.unit.importers.fixtures_librechat_messages import rows, write
from tests.unit.importers.logs import read, read_lines, reasons, votes, write_lines
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import ingest

EXPECTED = [("384,400 km.", "up"), ("Far.", "down"), ("It varies.", "unrated")]
APART = ("event_id", "format", "source_file", "source_line", "user_id", "created_at")


def test_the_events_of_the_conversations_export(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == EXPECTED
    export = read_lines(tmp_path, conversation()).events
    assert result.events.drop(APART).sort("completion").equals(export.drop(APART).sort("completion"))
    assert set(result.events["created_at"]) == {datetime(2026, 3, 1, 12, tzinfo=UTC)}
    assert result.events["user_id"].n_unique() == 1


def test_a_conversation_may_lie_in_two_files(tmp_path: Path) -> None:
    paths = [write_lines(tmp_path / f"{half}.jsonl", *rows()[half::2]) for half in (0, 1)]
    result = ingest(EventsConfig(inputs=tuple(map(str, paths))))
    assert votes(result) == EXPECTED


@pytest.mark.parametrize("rating", ["up", 1, True])
def test_a_rating_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, rating: object) -> None:
    found = messages()
    found[1]["feedback"]["rating"] = rating
    result = read_lines(tmp_path, *found)
    assert reasons(result) == ["unknown_label"]
    assert repr(rating) in result.rejects["detail"][0]
    assert votes(result) == [EXPECTED[0], EXPECTED[2]]


@pytest.mark.parametrize(
    ("place", "change", "lost"),
    [
        (0, {"messageId": "other"}, ["broken_history"] * 3),
        (0, {"isCreatedByUser": None}, ["wrong_type"] * 4),
        (1, {"error": True}, ["no_completion"]),
        (1, {"text": " "}, ["empty_completion"]),
        (4, {"messageId": None}, ["missing_field"]),
    ],
)
def test_a_bad_message_costs_what_needs_it(
    tmp_path: Path, place: int, change: dict[str, object], lost: list[str]
) -> None:
    found = messages()
    found[place] |= change
    assert reasons(read_lines(tmp_path, *found)) == lost
