"""The arena's released votes: who won, and what each side had before it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_arena import said, turn, vote, write
from tests.unit.importers.fixtures_conversations import ASKED, BAD, GOOD
from tests.unit.importers.logs import assistant, read, read_lines, reasons, user


def test_votes_of_a_file(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.notes["votes"] == {"both_bad": 2, "chosen": 1, "rejected": 1, "tied": 2}
    # The sides of the last vote had different answers before them.
    assert reasons(result) == ["different_prompts"]


@pytest.mark.parametrize(
    ("winner", "first", "second"),
    [
        ("model_a", "chosen", "rejected"),
        ("model_b", "rejected", "chosen"),
        ("tie", "tied", "tied"),
        ("both_bad", "both_bad", "both_bad"),
        ("tie (bothbad)", "both_bad", "both_bad"),
    ],
)
def test_each_winner(tmp_path: Path, winner: str, first: str, second: str) -> None:
    events = read_lines(tmp_path, vote(winner)).events.to_dicts()
    assert {event["completion"]: event["vote"] for event in events} == {GOOD: first, BAD: second}
    assert {event["completion"]: (event["model"], event["position"]) for event in events} == {
        GOOD: ("m1", 1),
        BAD: ("m2", 2),
    }
    assert {event["created_at"] for event in events} == {datetime(2025, 7, 1, 10, tzinfo=UTC)}


def test_what_was_said_before_the_models_came_in_is_part_of_the_prompt(tmp_path: Path) -> None:
    result = read_lines(tmp_path, vote("model_a", (turn("Hi", "Hello.", "Hello."),)))
    assert result.events["prompt"].to_list() == [[user("Hi"), assistant("Hello."), user(ASKED)]] * 2


def test_several_turns_of_one_vote_are_not_put_before_it_again(tmp_path: Path) -> None:
    turns = [said("user", "Hi"), said("assistant", "Hello."), said("user", ASKED)]
    sides = {f"conversation_{side}": [*turns, said("assistant", text)] for side, text in (("a", GOOD), ("b", BAD))}
    result = read_lines(tmp_path, vote("model_a", (turn("Hi", "Hello.", "Hello."),), **sides))
    assert result.events["prompt"].to_list() == [[user("Hi"), assistant("Hello."), user(ASKED)]] * 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (vote("neither"), "unknown_label"),
        (vote(None), "missing_field"),
        (vote(evaluation_order=2, full_conversation=None), "earlier_turns"),
        (vote(full_conversation=["x"]), "wrong_type"),
        (vote(conversation_a=[said("user", ASKED)]), "not_an_answer"),
        (vote(conversation_a=None), "missing_field"),
    ],
)
def test_a_vote_that_cannot_be_read_is_rejected(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    assert reasons(read_lines(tmp_path, vote(id="v9"), row)) == [reason]


def test_a_picture_in_a_conversation_is_refused(tmp_path: Path) -> None:
    picture = {"type": "image", "text": None, "image": "tea.png", "mimeType": "image/png"}
    asked = {"role": "user", "content": [*said("user", ASKED)["content"], picture]}
    sides = {f"conversation_{side}": [asked, said("assistant", side)] for side in "ab"}
    assert reasons(read_lines(tmp_path, vote(id="v9"), vote(**sides))) == ["not_text"]
