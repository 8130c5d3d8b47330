"""GPT4All: thumbs, and edits as comparisons."""

from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_gpt4all import conversation, rated, write
from tests.unit.importers.logs import (
    assistant,
    comparisons,
    message,
    read,
    read_lines,
    reasons,
    user,
    votes,
    write_lines,
)
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import ingest

SYSTEM = message("system", "Be brief.")


def test_thumbs_and_an_edit(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("384,400 km.", "chosen"),
        ("Far.", "down"),
        ("Far.", "rejected"),
        ("It varies.", "up"),
        ("Welcome.", "unrated"),
    ]
    assert comparisons(result) == [("edit", "chosen: 384,400 km.", "rejected: Far.")]
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_later_prompts_hold_the_models_own_text_and_the_edit_is_of_no_model(tmp_path: Path) -> None:
    events = read_lines(tmp_path, rated()).events
    later = events.filter(pl.col("completion") == "It varies.").to_dicts()[0]
    assert later["prompt"] == [SYSTEM, user("How far is the moon?"), assistant("Far."), user("And Mars?")]
    assert (later["model"], later["conversation_id"]) == ("m-a", "i1")
    assert events.filter(pl.col("vote") == "chosen")["model"].to_list() == [None]


def test_an_edit_that_changed_nothing_is_no_comparison(tmp_path: Path) -> None:
    row = conversation(user("Hi"), assistant("Hello") | {"edited_content": "Hello"})
    assert votes(read_lines(tmp_path, row)) == [("Hello", "unrated")]


@pytest.mark.parametrize("rating", ["Positive", "up", 1, True, ""])
def test_a_rating_that_is_not_known_costs_the_vote_and_not_the_edit(tmp_path: Path, rating: object) -> None:
    row = conversation(user("Hi"), assistant("Hello") | {"rating": rating, "edited_content": "Hello!"})
    result = read_lines(tmp_path, row)
    assert reasons(result) == ["unknown_label"]
    assert repr(rating) in result.rejects["detail"][0]
    assert comparisons(result) == [("edit", "chosen: Hello!", "rejected: Hello")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (conversation(user("Hi")), "no_completion"),
        (conversation(user("Hi"), {"role": "robot", "content": "Hello"}), "unknown_label"),
        (conversation(user("Hi"), assistant(" ")), "empty_completion"),
        (conversation(user("Hi"), {"role": "assistant", "content": None}), "missing_field"),
        (conversation(user("Hi"), {"role": "assistant", "content": 7}), "wrong_type"),
        (conversation(conversation="Hi"), "wrong_type"),
    ],
)
def test_a_bad_conversation_is_rejected(tmp_path: Path, bad: dict[str, object], reason: str) -> None:
    result = read_lines(tmp_path, rated(), bad)
    assert reasons(result) == [reason]
    assert result.counts.rows_out == 5


def test_a_blank_edit_costs_the_edit(tmp_path: Path) -> None:
    row = conversation(user("Hi"), assistant("Hello") | {"rating": "negative", "edited_content": " "})
    result = read_lines(tmp_path, row)
    assert (votes(result), reasons(result)) == ([("Hello", "down")], ["empty_completion"])


def test_a_conversation_beside_a_vote_of_ones_own_is_no_datalake(tmp_path: Path) -> None:
    row = {"prompt": "And Mars?", "response": "It varies.", "rating": "good"}
    told = [user("How far is the moon?"), assistant("Far."), user("And Mars?")]
    result = ingest(EventsConfig(inputs=(str(write_lines(tmp_path / "log.jsonl", row | {"conversation": told})),)))
    assert result.events.select("format", "completion", "vote").rows() == [("thumbs_jsonl", "It varies.", "up")]
    assert result.notes["remarks"] == {"unread_column": {"conversation": 1}}
