"""Opik: scores inside traces, one vote an author, numbers only where their scale is stated."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from thumbline.pipeline.ingest.event_ids import pseudonym


def score(value: Any, category: Any = None, **fields: Any) -> Row:
    return {
        "name": "User feedback",
        "category_name": category,
        "value": value,
        "reason": None,
        "source": "ui",
        "created_by": "ann",
        "last_updated_at": "2026-09-01T00:00:00Z",
    } | fields


def trace(name: str, went_in: Any, came_out: Any, *scores: Row) -> Row:
    return {
        "id": name,
        "project_id": "p",
        "thread_id": "th",
        "input": went_in,
        "output": came_out,
        "feedback_scores": list(scores),
        "tags": [],
    }


AUTHORS = {
    "bob": {"value": 1.0, "category_name": "👍", "source": "ui", "last_updated_at": "2026-09-02T00:00:00Z"},
    "eve": {"value": 0.0, "category_name": "👎", "source": "sdk", "last_updated_at": "2026-09-03T00:00:00Z"},
}
TRACES: list[Row] = [
    trace(
        "t1",
        {"messages": [user("Do bees sleep?")]},
        {"choices": [{"message": assistant("They do.")}]},
        score(1.0, "👍"),
    ),
    trace("t2", {"question": "Do fish blink?"}, {"answer": "No."}, score(0.5, None, value_by_author=AUTHORS)),
    trace("t3", {"question": "Do ants swim?"}, {"answer": "Some."}),
]
SCORES: list[Row] = [score(0, "thumbs_down") | {"id": "t3", "project_name": "bot"}]
FILES = {"traces.jsonl": TRACES, "scores.jsonl": SCORES}


def test_scores_in_traces_by_author_and_beside_them(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert sorted(votes(result)) == [
        ("Do ants swim?", "Some.", "down"),
        ("Do bees sleep?", "They do.", "up"),
        ("Do fish blink?", "No.", "down"),
        ("Do fish blink?", "No.", "up"),
    ]
    by_user = {event["user_id"]: (event["vote"], event["created_at"]) for event in result.events.to_dicts()}
    assert by_user[pseudonym("eve", "thumbline")] == ("down", datetime(2026, 9, 3, tzinfo=UTC))
    assert by_user[pseudonym("bob", "thumbline")] == ("up", datetime(2026, 9, 2, tzinfo=UTC))
    assert set(result.events["conversation_id"]) == {"th"}


@pytest.mark.parametrize(
    ("stated", "reason", "shown"),
    [
        (score(1.0), "unknown_label", "1.0; state what it means in events.options: up:"),
        (score(1.0, "average"), "unknown_label", "'average'"),
        (score(1.0, "👍", name="hallucination"), "other_feedback", "'hallucination'"),
        (score(1.0, "👍", source="online_scoring"), "not_human", "'online_scoring'"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, stated: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, {"traces.jsonl": [TRACES[0], trace("t4", "Hm?", "Ha.") | {"feedback_scores": [stated]}]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_a_score_without_its_trace_and_a_trace_without_text(tmp_path: Path) -> None:
    broken = trace("t5", {"question": "Do owls hoot?"}, None, score(1.0, "👍"))
    result = read(tmp_path, {"traces.jsonl": [broken], "scores.jsonl": [SCORES[0] | {"id": "gone"}]})
    assert sorted(result.rejects["reason"]) == ["missing_field", "no_trace"]


def test_a_stated_scale_and_online_scores(tmp_path: Path) -> None:
    traces = [trace("t1", "Hm?", "Ha.", score(0.0, source="online_scoring", name="thumbs"))]
    options = {"up": "1", "down": "0", "annotators": "all"}
    assert votes(read(tmp_path, {"traces.jsonl": traces}, options=options)) == [("Hm?", "Ha.", "down")]
