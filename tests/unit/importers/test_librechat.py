"""LibreChat: flat and recursive exports give the same events."""

import json
from pathlib import Path

import pytest

from tests.unit.importers.fixtures_librechat import NO_PARENT, conversation, message, messages, tree, write
from tests.unit.importers.logs import assistant, read, read_lines, reasons, user, votes

EXPECTED = [("384,400 km.", "up"), ("Far.", "down"), ("It varies.", "unrated")]


def test_an_export_gives_every_answer_with_its_thumb(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == EXPECTED
    prompts = {event["completion"]: event["prompt"] for event in result.events.to_dicts()}
    assert prompts["Far."] == prompts["384,400 km."] == [user("How far is the moon?")]
    assert prompts["It varies."] == [user("How far is the moon?"), assistant("384,400 km."), user("And Mars?")]
    assert result.events["model"].unique().to_list() == ["m-a"]


def test_an_export_laid_out_for_people_is_read(tmp_path: Path) -> None:
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps(conversation(), indent=2), encoding="utf-8")
    assert votes(read(path)) == EXPECTED


def test_a_recursive_export_gives_the_same_events(tmp_path: Path) -> None:
    flat = read_lines(tmp_path, conversation()).events
    assert read_lines(tmp_path, tree()).events.equals(flat)


@pytest.mark.parametrize(
    ("feedback", "vote"),
    [
        ({"rating": "thumbsUp"}, "up"),
        ({"rating": "thumbsDown", "tag": "x"}, "down"),
        ({"rating": None}, "unrated"),
        (None, "unrated"),
    ],
)
def test_each_rating(tmp_path: Path, feedback: object, vote: str) -> None:
    row = conversation([message("u1", NO_PARENT, "Hi"), message("a1", "u1", "Hello", feedback=feedback)])
    assert votes(read_lines(tmp_path, row)) == [("Hello", vote)]


@pytest.mark.parametrize("rating", ["thumbsup", "up", 1, True])
def test_a_rating_that_is_not_known_costs_that_answer(tmp_path: Path, rating: object) -> None:
    rows = messages()
    rows[1]["feedback"]["rating"] = rating
    result = read_lines(tmp_path, conversation(rows))
    assert votes(result) == [EXPECTED[0], EXPECTED[2]]
    assert reasons(result) == ["unknown_label"]
    assert repr(rating) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"error": True}, "no_completion"),
        ({"text": " "}, "empty_completion"),
        ({"parentMessageId": "gone"}, "broken_history"),
        ({"text": "", "content": [{"type": "tool_call", "tool_call": {}}]}, "bad_tool_call"),
        ({"text": "", "content": [{"type": ["text"], "text": "Far."}]}, "not_text"),
        ({"feedback": "thumbsUp"}, "wrong_type"),
    ],
)
def test_a_bad_answer_costs_itself(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    rows = messages()
    rows[1] |= change
    result = read_lines(tmp_path, conversation(rows))
    assert reasons(result) == [reason]
    assert votes(result) == [EXPECTED[0], EXPECTED[2]]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([message("u1", NO_PARENT, "Hi")], "no_completion"),
        ([message("a1", NO_PARENT, "Hi"), message("a1", NO_PARENT, "Ho")], "duplicate_key"),
        ([message("a1", NO_PARENT, "Hi"), "text"], "wrong_type"),
    ],
)
def test_a_bad_conversation_is_rejected_whole(tmp_path: Path, found: list[object], reason: str) -> None:
    good = conversation([message("u1", NO_PARENT, "Hi"), message("a1", "u1", "Hello")])
    result = read_lines(tmp_path, good, conversation(found))
    assert reasons(result) == [reason]
    assert votes(result) == [("Hello", "unrated")]
