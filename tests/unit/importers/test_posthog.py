"""PostHog: 1 is up and 2 is down, one vote a submission, and only in surveys of that scale."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, read, reasons, user, votes
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.ingest.event_ids import pseudonym


def event(number: int, name: str, minute: int, **properties: Any) -> Row:
    return {
        "uuid": f"e{number}",
        "event": name,
        "distinct_id": "ann",
        "timestamp": f"2026-05-05T10:{minute:02}:00Z",
        "properties": {f"${key}": value for key, value in properties.items()} | {"$lib": "web"},
    }


def generation(number: int, trace: str, asked: str, answered: str, minute: int = 0) -> Row:
    return event(
        number,
        "$ai_generation",
        minute,
        ai_trace_id=trace,
        ai_model="tiny",
        ai_input=[user(asked)],
        ai_output_choices=[{"role": "assistant", "content": [{"type": "text", "text": answered}]}],
    )


def sent(number: int, trace: str | None, submission: str, response: Any, minute: int = 5, **more: Any) -> Row:
    named = {"survey_id": "s1", "survey_submission_id": submission, "ai_trace_id": trace, "survey_response": response}
    return event(number, "survey sent", minute, **(named | more))


GENERATIONS: list[Row] = [
    generation(1, "t1", "Best tea?", "Assam."),
    generation(2, "t2", "Best jam?", "Plum."),
    generation(3, "t3", "Search?", "", 1) | {"properties": {"$ai_trace_id": "t9"}},
]
SENT: list[Row] = [sent(10, "t1", "sub1", 1), sent(11, "t2", "sub2", 2)]
FILES = {"surveys.jsonl": SENT, "generations.jsonl": GENERATIONS}


def test_one_is_up_and_two_is_down(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [("Best tea?", "Assam.", "up"), ("Best jam?", "Plum.", "down")]
    first = result.events.sort("source_line").to_dicts()[0]
    assert (first["model"], first["user_id"]) == ("tiny", pseudonym("ann", "thumbline"))
    assert first["created_at"] == datetime(2026, 5, 5, 10, 5, tzinfo=UTC)


def test_one_file_of_all_events_gives_the_same(tmp_path: Path) -> None:
    expected = votes(read(tmp_path / "two", FILES))
    other = [event(20, "$pageview", 1), event(21, "survey shown", 1, survey_id="s1"), event(22, "$ai_trace", 1)]
    assert votes(read(tmp_path / "one", {"events.jsonl": [*other, *SENT, *GENERATIONS]})) == expected


def test_a_submission_is_one_vote_its_last(tmp_path: Path) -> None:
    rows = [
        sent(10, "t1", "sub1", 1, 1),
        sent(11, "t1", "sub1", 2, 3),
        sent(12, "t1", "sub1", "because it is bitter", 4),
        sent(13, "t1", "sub2", "nothing rated"),
    ]
    result = read(tmp_path, FILES | {"surveys.jsonl": rows})
    assert votes(result) == [("Best tea?", "Assam.", "down")]
    assert reasons(result) == [(1, "overridden"), (3, "not_a_vote"), (4, "not_a_vote")]
    assert not [detail for detail in result.rejects["detail"] if "bitter" in detail]


def test_questions_by_their_ids(tmp_path: Path) -> None:
    by_id = {"survey_response": None, "survey_response_q1": "2", "survey_response_q2": "too short"}
    both = by_id | {"survey_response_q2": 1}
    rows = [sent(10, "t1", "a", None, **by_id), sent(11, "t2", "b", None, **both)]
    result = read(tmp_path, FILES | {"surveys.jsonl": rows})
    assert votes(result) == [("Best tea?", "Assam.", "down")]
    assert reasons(result) == [(2, "several_answers")]
    stated = read(tmp_path, FILES | {"surveys.jsonl": rows[1:]}, options={"question": "q2"})
    assert votes(stated) == [("Best jam?", "Plum.", "up")]


@pytest.mark.parametrize("other", [0, 3, 5, "4", 1.5])
def test_a_survey_of_another_scale_has_no_thumbs(tmp_path: Path, other: object) -> None:
    rows = [*SENT, sent(12, "t1", "sub3", other), sent(13, "t1", "sub4", 1, survey_id="s2")]
    result = read(tmp_path, FILES | {"surveys.jsonl": rows})
    assert result.events["source_line"].to_list() == [4]
    assert reasons(result) == [(1, "unknown_scale"), (2, "unknown_scale"), (3, "unknown_label")]
    assert repr(other) in result.rejects.filter(source_line=3)["detail"][0]


def test_a_stated_scale_replaces_the_thumbs(tmp_path: Path) -> None:
    rows = [sent(10, "t1", "a", 5), sent(11, "t2", "b", 1), sent(12, "t2", "c", 2)]
    result = read(tmp_path, FILES | {"surveys.jsonl": rows}, options={"up": "4,5", "down": "1"})
    assert [vote for *_, vote in votes(result)] == ["up", "down"]
    assert reasons(result) == [(3, "unknown_label")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (sent(10, "gone", "a", 1), "no_trace"),
        (sent(10, None, "a", 1), "not_an_answer"),
        (sent(10, "t9", "a", 1), "missing_field"),
    ],
)
def test_a_vote_without_its_text_is_rejected(tmp_path: Path, row: Row, reason: str) -> None:
    assert reasons(read(tmp_path, FILES | {"surveys.jsonl": [row]})) == [(1, reason)]


def test_several_generations_are_nobodys_guess_unless_the_last_is_asked_for(tmp_path: Path) -> None:
    files = FILES | {"more.jsonl": [generation(5, "t1", "Best tea? Look it up.", "Oolong.", 2)]}
    assert reasons(read(tmp_path, files)) == [(1, "two_texts")]
    assert votes(read(tmp_path, files, options={"answer": "last"}))[0][1] == "Oolong."
    with pytest.raises(ConfigError, match="answer is 'first', not only or last"):
        read(tmp_path, files, options={"answer": "first"})


def test_properties_as_a_json_text(tmp_path: Path) -> None:
    files = {
        name: [row | {"properties": json.dumps(row["properties"])} for row in rows] for name, rows in FILES.items()
    }
    assert votes(read(tmp_path / "a", files)) == votes(read(tmp_path / "b", FILES))
