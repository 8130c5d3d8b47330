"""Open WebUI: the rated answer is found in the snapshot, and siblings are compared as on its leaderboard."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.importers.fixtures_open_webui import chat, entry, write
from tests.unit.importers.logs import assistant, comparisons, read, read_lines, reasons, user, votes


def test_an_export_gives_its_ratings_and_the_arena_pair(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert set(result.events["format"]) == {"open_webui"}
    assert votes(result) == [
        ("384,400 km.", "chosen"),
        ("384,400 km.", "up"),
        ("Far.", "rejected"),
        ("It varies.", "down"),
    ]
    assert comparisons(result) == [("arena", "chosen: 384,400 km.", "rejected: Far.")]
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_what_stands_before_the_answer_on_its_branch_is_its_prompt(tmp_path: Path) -> None:
    (event,) = read_lines(tmp_path, entry("a2", "-1", None)).events.to_dicts()
    assert event["prompt"] == [user("How far?"), assistant("384,400 km."), user("And Mars?")]
    assert (event["completion"], event["vote"], event["model"]) == ("It varies.", "down", "m-b")
    assert event["conversation_id"] == "chat-1"
    assert event["created_at"] == datetime.fromtimestamp(1_760_000_060, UTC)


def test_a_rating_of_minus_one_loses_to_every_sibling(tmp_path: Path) -> None:
    result = read_lines(tmp_path, entry("a1", -1, ["m-b"]))
    assert comparisons(result) == [("arena", "chosen: 384,400 km.", "rejected: Far.")]
    assert ("Far.", "down") in votes(result)


def test_a_sibling_of_the_same_model_is_another_try(tmp_path: Path) -> None:
    snapshot = chat()
    snapshot["chat"]["history"]["messages"]["a1"]["model"] = "m-b"
    result = read_lines(tmp_path, entry(siblings=["m-b"], snapshot={"chat": snapshot}))
    assert comparisons(result) == [("regenerate", "chosen: 384,400 km.", "rejected: Far.")]


def test_in_an_arena_the_drawn_model_counts_and_not_the_arenas_name(tmp_path: Path) -> None:
    snapshot = chat()
    snapshot["chat"]["history"]["messages"]["a1"] |= {"model": "arena-model", "selectedModelId": "m-a"}
    result = read_lines(tmp_path, entry(snapshot={"chat": snapshot["chat"]}))
    assert set(result.events["model"]) == {"m-a", "m-b"}


@pytest.mark.parametrize(("rating", "vote"), [(1, "up"), ("1", "up"), (-1, "down"), ("-1", "down"), (None, "unrated")])
def test_each_rating(tmp_path: Path, rating: object, vote: str) -> None:
    assert votes(read_lines(tmp_path, entry("a2", rating, None))) == [("It varies.", vote)]


@pytest.mark.parametrize("rating", [0, 2, "up", True, "+1", 1.5])
def test_a_rating_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, rating: object) -> None:
    result = read_lines(tmp_path, entry("a2", rating, None))
    assert result.events.is_empty()
    assert reasons(result) == ["unknown_label"]
    assert repr(rating) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "survey"}, "unknown_label"),
        ({"snapshot": None}, "no_text"),
        ({"meta": {"message_id": "gone"}}, "missing_answer"),
        ({"meta": {"message_id": "u1"}}, "not_an_answer"),
        ({"meta": None}, "missing_field"),
        ({"data": "1"}, "wrong_type"),
    ],
)
def test_an_entry_whose_answer_is_not_clear_is_rejected(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    assert reasons(read_lines(tmp_path, entry(), entry("a2", **changes))) == [reason]


def test_a_sibling_that_the_snapshot_lacks_costs_the_comparison_only(tmp_path: Path) -> None:
    result = read_lines(tmp_path, entry(siblings=["m-z"]))
    assert votes(result) == [("384,400 km.", "up")]
    assert reasons(result) == ["missing_answer"]


def test_a_bad_message_costs_the_answers_after_it_only(tmp_path: Path) -> None:
    snapshot = chat()
    snapshot["chat"]["history"]["messages"]["u2"]["content"] = [{"type": "image_url", "image_url": {"url": "x"}}]
    result = read_lines(tmp_path, entry(snapshot={"chat": snapshot}), entry("a2", 1, None, snapshot={"chat": snapshot}))
    assert reasons(result) == ["unsupported_content"]
    assert ("384,400 km.", "up") in votes(result)


def test_a_thread_that_bites_its_tail_is_rejected(tmp_path: Path) -> None:
    snapshot = chat()
    snapshot["chat"]["history"]["messages"]["u1"]["parentId"] = "a1"
    assert reasons(read_lines(tmp_path, entry("a1", 1, None, snapshot={"chat": snapshot}))) == ["broken_history"]
