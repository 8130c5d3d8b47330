"""Dify: likes, dislikes and votes taken back, each with the conversation so far as prompt."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.ingest.event_ids import pseudonym

ROOT = "00000000-0000-0000-0000-000000000000"


def message(name: str, query: str, answer: str, minute: int, **fields: Any) -> Row:
    return {
        "id": name,
        "conversation_id": "c1",
        "inputs": {},
        "query": query,
        "answer": answer,
        "created_at": 1_770_000_000 + 60 * minute,
        "feedback": None,
        "retriever_resources": [],
    } | fields


MESSAGES: list[Row] = [
    message("m2", "And in winter?", "Wool.", 2),
    message("m1", "What to wear in rain?", "A coat.", 1),
    message("n1", "Root?", "Yes.", 1, conversation_id="c2", parent_message_id=ROOT),
    message("n2", "Next?", "No.", 2, conversation_id="c2", parent_message_id="n1"),
    message("n3", "Next?", "Maybe.", 3, conversation_id="c2", parent_message_id="n1"),
]


def feedback(number: int, name: str, rating: Any, **fields: Any) -> Row:
    return {
        "id": f"f{number}",
        "app_id": "app",
        "conversation_id": "c1",
        "message_id": name,
        "rating": rating,
        "content": None,
        "from_source": "user",
        "from_end_user_id": "ann",
        "from_account_id": None,
        "created_at": "2026-02-02T02:00:00",
        "updated_at": "2026-02-02T03:00:00Z",
    } | fields


FEEDBACKS: list[Row] = [
    feedback(1, "m2", "like"),
    feedback(
        2, "n3", "dislike", conversation_id="c2", from_source="admin", from_end_user_id=None, from_account_id="eve"
    ),
    feedback(3, "m1", None, updated_at=None),
]
FILES = {"feedbacks.jsonl": FEEDBACKS, "messages.jsonl": MESSAGES}


def test_like_dislike_and_a_vote_taken_back(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    first, second, third = result.events.sort("source_line").to_dicts()
    assert first["prompt"] == [user("What to wear in rain?"), assistant("A coat."), user("And in winter?")]
    assert (first["completion"], first["vote"], first["conversation_id"]) == ("Wool.", "up", "c1")
    assert second["prompt"] == [user("Root?"), assistant("Yes."), user("Next?")]
    assert (second["completion"], second["vote"]) == ("Maybe.", "down")
    assert (third["completion"], third["vote"]) == ("A coat.", "retracted")
    hours = [event["created_at"] for event in (first, third)]
    assert hours == [datetime(2026, 2, 2, 3, tzinfo=UTC), datetime(2026, 2, 2, 2, tzinfo=UTC)]
    assert [event["user_id"] for event in (first, second)] == [pseudonym(name, "thumbline") for name in ("ann", "eve")]


def test_api_responses_and_embedded_feedback(tmp_path: Path) -> None:
    given = [{"rating": "like", "content": "", "from_source": "user"}, {"rating": "hm"}]
    messages = [MESSAGES[0] | {"feedback": {"rating": "dislike"}}, MESSAGES[1] | {"feedbacks": given}]
    files = {"messages.jsonl": [{"limit": 20, "has_more": False, "data": messages}]}
    result = read(tmp_path / "a", files)
    assert votes(result) == [
        ("What to wear in rain?", "A coat.", "up"),
        ("And in winter?", "Wool.", "down"),
    ]
    assert reasons(result) == [(1, "unknown_label")]
    wrapped = {"feedbacks.jsonl": [{"data": FEEDBACKS}], "messages.jsonl": MESSAGES}
    assert read(tmp_path / "b", wrapped).events.height == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rating": "love"}, "unknown_label"),
        ({"rating": 1}, "unknown_label"),
        ({"message_id": "gone"}, "no_trace"),
        ({"message_id": None}, "missing_field"),
        ({"created_at": "noon", "updated_at": None}, "bad_time"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, fields: Row, reason: str) -> None:
    result = read(tmp_path, FILES | {"feedbacks.jsonl": [FEEDBACKS[0], FEEDBACKS[1] | fields]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    if reason == "unknown_label":
        assert repr(fields["rating"]) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"query": ""}, "empty_prompt"), ({"answer": 7}, "wrong_type"), ({"created_at": None}, "bad_time")],
)
def test_a_message_that_cannot_be_read_costs_the_votes_on_it_and_after_it(
    tmp_path: Path, fields: Row, reason: str
) -> None:
    messages = [row | fields if row["id"] == "m1" else row for row in MESSAGES]
    assert reasons(read(tmp_path, FILES | {"messages.jsonl": messages})) == [(1, reason), (3, reason)]


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    turned = {name: rows[::-1] for name, rows in FILES.items()}
    assert sorted(votes(read(tmp_path / "a", FILES))) == sorted(votes(read(tmp_path / "b", turned)))
