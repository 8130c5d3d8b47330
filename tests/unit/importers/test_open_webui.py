"""Open WebUI: the rated answer is found in the snapshot, and siblings are compared as on its leaderboard."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_open_webui import chat, entry, exported, write
from tests.unit.importers.logs import (
    assistant,
    checked,
    comparisons,
    message,
    read,
    read_lines,
    reasons,
    system,
    user,
    votes,
    write_lines,
)
from tests.unit.importers.test_open_webui_details import called, thought
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import EventsResult


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
    assert reasons(result) == ["not_text"]
    assert ("384,400 km.", "up") in votes(result)


def test_a_thread_that_bites_its_tail_is_rejected(tmp_path: Path) -> None:
    snapshot = chat()
    snapshot["chat"]["history"]["messages"]["u1"]["parentId"] = "a1"
    assert reasons(read_lines(tmp_path, entry("a1", 1, None, snapshot={"chat": snapshot}))) == ["broken_history"]


def together(folder: Path, feedbacks: list[dict[str, Any]], chats: list[dict[str, Any]]) -> EventsResult:
    """What feedbacks and exported chats give as two inputs."""
    inputs = (
        str(write_lines(folder / "a-feedbacks.jsonl", *feedbacks)),
        str(write_lines(folder / "chats.jsonl", *chats)),
    )
    return checked(EventsConfig(inputs=inputs))


def without_snapshot(message_id: str, rating: object, **changes: Any) -> dict[str, Any]:
    """A feedback as the list of all feedbacks has it."""
    row = entry(message_id, rating, None, **changes)
    del row["snapshot"]
    return row | {"user": {"id": "ann", "name": "Ann"}}


def test_the_export_of_all_chats_holds_the_votes_beside_the_answers(tmp_path: Path) -> None:
    result = read_lines(tmp_path, exported(("a2", 1), ("b1", "-1")))
    assert set(result.events["format"]) == {"open_webui"}
    assert ("It varies.", "up") in votes(result)
    assert ("384,400 km.", "down") in votes(result)
    assert ("Far.", "unrated") in votes(result)
    assert comparisons(result) == [("arena", "chosen: Far.", "rejected: 384,400 km.")]
    event = result.events.filter(vote="up").to_dicts()[0]
    assert event["prompt"] == [user("How far?"), assistant("384,400 km."), user("And Mars?")]
    assert (event["conversation_id"], event["model"]) == ("chat-2", "m-b")
    assert event["user_id"] == pseudonym("bob", "thumbline")
    assert event["created_at"] == datetime.fromtimestamp(1_760_000_300, UTC)


def test_siblings_that_are_rated_themselves_are_left_to_the_votes(tmp_path: Path) -> None:
    result = read_lines(tmp_path, exported(("a1", 1), ("b1", 1)))
    assert comparisons(result) == []
    assert [vote for _, vote in votes(result)] == ["up", "up", "unrated"]


def test_an_annotation_without_a_rating_is_no_vote_and_an_unknown_one_is_rejected(tmp_path: Path) -> None:
    result = read_lines(tmp_path, exported(("a1", None), ("a2", 7)))
    assert votes(result) == [("384,400 km.", "unrated"), ("Far.", "unrated")]
    assert reasons(result) == ["unknown_label"]


def test_a_chat_whose_messages_are_a_list_or_json_in_a_cell_is_read_alike(tmp_path: Path) -> None:
    row = exported(("a2", 1))
    history = row["chat"]["history"]["messages"]
    listed = row | {"chat": {"messages": list(history.values())}}
    cell = row | {"chat": json.dumps(row["chat"])}
    expected = votes(read_lines(tmp_path, row))
    assert votes(read_lines(tmp_path, listed)) == votes(read_lines(tmp_path, cell)) == expected


def test_a_chats_own_system_prompt_goes_before_its_messages(tmp_path: Path) -> None:
    row = exported(("a1", 1))
    row["chat"]["params"] = {"system": "Be brief."}
    event = read_lines(tmp_path, row).events.filter(vote="up").to_dicts()[0]
    assert event["prompt"] == [system("Be brief."), user("How far?")]


def test_a_feedback_without_a_snapshot_is_looked_up_among_the_chats(tmp_path: Path) -> None:
    feedbacks = [without_snapshot("a2", 1), without_snapshot("a1", -1)]
    feedbacks[1]["data"]["sibling_model_ids"] = ["m-b"]
    result = together(tmp_path, feedbacks, [exported(id="chat-1")])
    assert ("It varies.", "up") in votes(result)
    assert comparisons(result) == [("arena", "chosen: 384,400 km.", "rejected: Far.")]
    event = result.events.filter(vote="up").to_dicts()[0]
    assert event["user_id"] == pseudonym("ann", "thumbline")
    assert event["prompt"] == [user("How far?"), assistant("384,400 km."), user("And Mars?")]


def test_a_feedback_whose_chat_is_nowhere_is_rejected_and_says_what_to_add(tmp_path: Path) -> None:
    result = together(tmp_path, [without_snapshot("a2", 1)], [exported()])
    assert reasons(result) == ["no_text"]
    assert "export of all chats" in result.rejects["detail"][0]


def test_a_feedback_and_the_annotation_of_its_answer_are_one_vote(tmp_path: Path) -> None:
    for feedback in (without_snapshot("a2", 1), entry("a2", 1, None)):
        result = together(tmp_path, [feedback], [exported(("a2", 1), id="chat-1")])
        assert [vote for text, vote in votes(result) if text == "It varies."] == ["up"]
        assert result.counts.merged == 1
        assert result.rejects.is_empty()


def test_where_feedback_and_annotation_differ_the_feedback_counts(tmp_path: Path) -> None:
    result = together(tmp_path, [without_snapshot("a2", -1)], [exported(("a2", 1), id="chat-1")])
    assert [vote for text, vote in votes(result) if text == "It varies."] == ["down"]
    assert reasons(result) == ["contradiction"]


def test_a_chat_that_was_edited_after_the_vote_gives_no_second_vote(tmp_path: Path) -> None:
    row = exported(("a2", 1), id="chat-1")
    row["chat"]["history"]["messages"]["a2"]["content"] = "It varies a lot."
    result = together(tmp_path, [entry("a2", 1, None)], [row])
    assert [text for text, vote in votes(result) if vote == "up"] == ["It varies."]
    assert reasons(result) == ["edited"]


def test_of_one_chat_in_two_exports_the_newer_one_answers_a_feedback(tmp_path: Path) -> None:
    old, new = exported(id="chat-1"), exported(id="chat-1", updated_at=1_760_001_000)
    new["chat"]["history"]["messages"]["a2"]["content"] = "It varies, now."
    result = together(tmp_path, [without_snapshot("a2", 1)], [new, old])
    assert [text for text, vote in votes(result) if vote == "up"] == ["It varies, now."]


def test_thoughts_and_calls_of_tools_go_along_with_the_answer_and_before_later_ones(tmp_path: Path) -> None:
    row = exported(("b1", 1), ("a2", -1))
    messages = row["chat"]["history"]["messages"]
    said = messages["b1"]["content"]
    calls = thought("Look it up.") + called("moon", {"unit": "km"}, "384400") + thought("Good.")
    messages["b1"]["content"] = calls + said
    result = read_lines(tmp_path, row)
    up, down = (result.events.filter(vote=vote).to_dicts()[0] for vote in ("up", "down"))
    assert (up["completion"], json.loads(up["completion_extra"])) == (said, {"reasoning_content": "Good."})
    question, call, given = up["prompt"]
    assert question == user("How far?")
    extra = json.loads(call["extra"])
    assert (call["role"], call["content"], extra["reasoning_content"]) == ("assistant", "", "Look it up.")
    assert extra["tool_calls"][0]["function"]["name"] == "moon"
    assert given == message("tool", "384400", '{"tool_call_id":"call_moon"}')
    assert down["prompt"][:3] == up["prompt"]
    assert down["prompt"][3]["content"] == said
    # The sibling answered without a look at the tool's result.
    assert (comparisons(result), reasons(result)) == ([], ["different_prompts"])
