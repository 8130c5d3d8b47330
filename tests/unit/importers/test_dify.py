"""Dify: likes, dislikes and votes taken back, each with the conversation so far as prompt."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import ingest

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


def exported(number: int, name: str, rating: str | None, answer: str = "Open the lid.", **fields: Any) -> Row:
    """A row of the feedback export."""
    return {
        "feedback_id": f"x{number}",
        "app_name": "Kettle help",
        "app_id": "app",
        "conversation_id": "c9",
        "conversation_name": "",
        "message_id": name,
        "user_query": "How to descale it?",
        "ai_response": answer,
        "feedback_rating": "👍" if rating == "like" else "👎",
        "feedback_rating_raw": rating,
        "feedback_comment": "",
        "feedback_source": "user",
        "feedback_date": "2026-02-03 08:00:00",
        "message_date": "2026-02-03 07:59:00",
        "from_account_name": "",
        "from_end_user_id": "ann",
        "has_comment": "No",
    } | fields


CUT = ("Pour vinegar. " * 36)[:500] + "..."
EXPORT: list[Row] = [exported(1, "k1", "like"), exported(2, "k2", "dislike", CUT), exported(3, "n3", "like", "Maybe.")]
FILES = {"feedbacks.jsonl": FEEDBACKS, "messages.jsonl": MESSAGES}
ALL_FILES = FILES | {"export.jsonl": EXPORT}


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


def test_the_feedback_export_holds_query_answer_and_vote_and_a_cut_answer_is_refused(tmp_path: Path) -> None:
    rows = [*EXPORT[:2], exported(4, "k4", None), exported(5, "k5", "dislike", "a" * 500)]
    result = read(tmp_path, {"export.jsonl": rows})
    assert set(result.events["format"]) == {"dify"}
    assert [vote for *_, vote in votes(result)] == ["up", "retracted", "down"]
    first = result.events.filter(source_line=1).to_dicts()[0]
    assert first["prompt"] == [user("How to descale it?")]
    assert (first["completion"], first["conversation_id"]) == ("Open the lid.", "c9")
    assert first["created_at"] == datetime(2026, 2, 3, 8, tzinfo=UTC)
    assert first["user_id"] == pseudonym("ann", "thumbline")
    assert reasons(result) == [(2, "truncated")]
    assert "give the app's messages" in result.rejects["detail"][0]
    assert result.notes["remarks"]["prompt_without_history"] == {"user_query": 3}


def test_an_answer_that_ends_in_dots_and_was_not_cut_stays(tmp_path: Path) -> None:
    answers = ["Well...", "a" * 497 + "...", "a" * 499 + "..."]
    rows = [exported(number, f"k{number}", "like", answer) for number, answer in enumerate(answers)]
    assert read(tmp_path, {"export.jsonl": rows}).events.height == 3


def test_line_breaks_of_a_spreadsheet_do_not_hide_a_cut(tmp_path: Path) -> None:
    cut = ("a line of ten\n" * 60)[:500] + "..."
    rows = [exported(1, "k1", "like", cut.replace("\n", "\r\n"))]
    assert reasons(read(tmp_path, {"export.jsonl": rows})) == [(1, "truncated")]


def test_with_the_apps_messages_a_cut_answer_is_whole_and_has_its_history(tmp_path: Path) -> None:
    whole = CUT[:500] + "Then rinse."
    messages = [
        message("k0", "Which kettle?", "The small one.", 1, conversation_id="c9", parent_message_id=ROOT),
        message("k2", "How to descale it?", whole, 2, conversation_id="c9", parent_message_id="k0"),
    ]
    result = read(tmp_path, {"export.jsonl": EXPORT[1:2], "messages.jsonl": messages})
    assert result.rejects.is_empty()
    (event,) = result.events.to_dicts()
    assert event["completion"] == whole
    assert event["prompt"] == [user("Which kettle?"), assistant("The small one."), user("How to descale it?")]
    assert "prompt_without_history" not in result.notes["remarks"]


def test_the_export_as_the_service_writes_it(tmp_path: Path) -> None:
    rows = [
        EXPORT[0],
        exported(6, "k6", "dislike", 'Two\nlines, and "quotes".', from_end_user_id="", from_account_name="eve"),
    ]
    wrapped = {"export_info": {"app_id": "app", "total_records": 2}, "feedback_data": rows}
    (tmp_path / "export.json").write_text(json.dumps(wrapped, ensure_ascii=False, indent=2), encoding="utf-8")
    with (tmp_path / "export.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = [ingest(EventsConfig(inputs=(str(tmp_path / name),))) for name in ("export.json", "export.csv")]
    said = [set(result.events.select("completion", "vote", "user_id", "created_at").iter_rows()) for result in found]
    assert said[0] == said[1]
    assert {(text, vote) for text, vote, *_ in said[0]} == {
        ("Open the lid.", "up"),
        ('Two\nlines, and "quotes".', "down"),
    }
