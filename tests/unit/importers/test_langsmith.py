"""LangSmith: feedback finds its run, corrections become edits, and feedback groups comparisons."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from tests.unit.importers.logs import message
from thumbline.pipeline.ingest.event_ids import pseudonym

LANGCHAIN = {
    "messages": [
        [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "SystemMessage"],
                "kwargs": {"content": "Answer in one word.", "type": "system"},
            },
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "HumanMessage"],
                "kwargs": {"content": "Largest planet?", "type": "human"},
            },
        ]
    ]
}
GENERATION = {
    "generations": [
        [
            {
                "text": "Jupiter.",
                "message": {"id": ["langchain", "schema", "messages", "AIMessage"], "kwargs": {"content": "Jupiter."}},
            }
        ]
    ]
}


def run(name: str, inputs: Any, outputs: Any, **fields: Any) -> Row:
    return {"id": name, "run_type": "chain", "inputs": inputs, "outputs": outputs, "trace_id": name} | fields


RUNS: list[Row] = [
    run("r1", LANGCHAIN, GENERATION, extra={"metadata": {"ls_model_name": "tiny-2", "thread_id": "th1"}}),
    run("r2", {"input": "And then?", "chat_history": [user("Hi"), assistant("Hello")]}, {"output": "Then tea."}),
    run("r3", {"question": "Why is rust red?"}, {"answer": "Iron oxide."}),
    run("r4", {"question": "Why is rust red?"}, {"answer": "It is shy."}),
]


def note(number: int, name: str, **fields: Any) -> Row:
    return {
        "id": f"f{number}",
        "created_at": "2026-02-01T08:00:00",
        "modified_at": "2026-02-01T09:00:00+00:00",
        "run_id": name,
        "key": "user_score",
        "score": True,
        "value": None,
        "comment": None,
        "correction": None,
        "feedback_source": {"type": "api", "metadata": {}, "user_id": None},
        "session_id": "project",
    } | fields


FEEDBACK: list[Row] = [
    note(1, "r1", feedback_source={"type": "app", "user_id": "ann"}),
    note(2, "r2", score=None, value="thumbs_down"),
    note(3, "r3", score=False, extra={"anything": 1}),
]
FILES = {"feedback.jsonl": FEEDBACK, "runs.jsonl": RUNS}


def test_feedback_and_runs(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("Largest planet?", "Jupiter.", "up"),
        ("And then?", "Then tea.", "down"),
        ("Why is rust red?", "Iron oxide.", "down"),
    ]
    first, second, _ = result.events.sort("source_line").to_dicts()
    assert first["prompt"][0] == message("system", "Answer in one word.")
    assert (first["conversation_id"], first["model"], first["user_id"]) == (
        "th1",
        "tiny-2",
        pseudonym("ann", "thumbline"),
    )
    assert first["created_at"] == datetime(2026, 2, 1, 9, tzinfo=UTC)
    assert second["prompt"] == [user("Hi"), assistant("Hello"), user("And then?")]


def test_one_file_of_both_gives_the_same(tmp_path: Path) -> None:
    expected = votes(read(tmp_path / "two", FILES))
    assert votes(read(tmp_path / "one", {"all.json": [*FEEDBACK, *RUNS]})) == expected


@pytest.mark.parametrize(
    ("fields", "reason", "shown"),
    [
        ({"score": 1}, "unknown_label", "field 'score' is 1; state what it means in events.options: up:"),
        ({"score": None, "value": "so so"}, "unknown_label", "'so so'"),
        ({"score": True, "value": "so so"}, "unknown_label", "'so so'"),
        ({"score": True, "value": "down"}, "contradiction", "'value' and 'score'"),
        ({"key": "helpfulness"}, "other_feedback", "'helpfulness'"),
        ({"feedback_source": {"type": "model"}}, "not_human", "'model'"),
        ({"feedback_source": '{"type": "model"}'}, "not_human", "'model'"),
        ({"feedback_source": "a robot"}, "not_human", "'a robot'"),
        ({"feedback_source": {"type": "auto_eval"}}, "not_human", "'auto_eval'"),
        ({"run_id": "gone"}, "no_trace", "in none of the inputs"),
        ({"run_id": None}, "not_an_answer", "neither"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, fields: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, FILES | {"feedback.jsonl": [*FEEDBACK[:1], note(2, "r2", **fields)]})
    assert len(votes(result)) == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_a_stated_scale_and_a_label_beside_a_number(tmp_path: Path) -> None:
    rows = [note(1, "r1", score=1.0), note(2, "r2", score=0), note(3, "r3", score=0.7, value="👍")]
    result = read(tmp_path, FILES | {"feedback.jsonl": rows}, options={"up": "1", "down": "0"})
    assert [vote for _, _, vote in votes(result)] == ["up", "down", "up"]


def test_judges_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    files = FILES | {"feedback.jsonl": [note(1, "r1", feedback_source={"type": "model"})]}
    assert read(tmp_path, files, options={"annotators": "all"}).events["vote"].to_list() == ["up"]


def test_a_score_of_nothing_is_unrated(tmp_path: Path) -> None:
    result = read(tmp_path, FILES | {"feedback.jsonl": [note(1, "r1", score=None)]})
    assert result.events["vote"].to_list() == ["unrated"]


def test_a_correction_is_an_edit_and_its_score_a_vote(tmp_path: Path) -> None:
    rows = [note(1, "r3", score=False, correction={"answer": "Rust is iron oxide."}), note(2, "r1", correction="")]
    result = read(tmp_path, FILES | {"feedback.jsonl": rows})
    assert votes(result) == [
        ("Why is rust red?", "Iron oxide.", "down"),
        ("Why is rust red?", "Rust is iron oxide.", "chosen"),
        ("Why is rust red?", "Iron oxide.", "rejected"),
    ]
    edits = result.events.drop_nulls("comparison_id")
    assert edits["comparison_kind"].to_list() == ["edit", "edit"]
    assert edits["comparison_id"].n_unique() == 1
    assert reasons(result) == [(2, "empty_completion")]


def grouped(number: int, name: str, score: Any, **fields: Any) -> Row:
    return note(number, name, score=score, key="preferred", feedback_group_id="g1", **fields)


def test_two_rows_of_a_feedback_group_are_one_comparison(tmp_path: Path) -> None:
    rows = [grouped(1, "r4", 0), grouped(2, "r3", 1)]
    result = read(tmp_path, FILES | {"feedback.jsonl": rows})
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("Why is rust red?", "Iron oxide.", "chosen"),
        ("Why is rust red?", "It is shy.", "rejected"),
    ]
    assert result.events["comparison_kind"].to_list() == ["preference", "preference"]
    assert result.events["comparison_id"].n_unique() == 1


def test_feedback_groups_that_are_no_comparison(tmp_path: Path) -> None:
    later = {"modified_at": "2026-02-02T00:00:00"}
    rows = [grouped(1, "r3", 1), grouped(2, "r4", 0), grouped(3, "r4", 0, **later), grouped(4, "r3", 0.5)]
    rows += [grouped(5, "r3", 1) | {"feedback_group_id": "g2"}]
    rows += [grouped(6, "r1", 1) | {"feedback_group_id": "g3"}, grouped(7, "r3", 0) | {"feedback_group_id": "g3"}]
    result = read(tmp_path, FILES | {"feedback.jsonl": rows})
    assert result.events["source_line"].to_list() == [1, 1]
    assert reasons(result) == [
        (2, "overridden"),
        (4, "unknown_label"),
        (5, "no_partner"),
        (6, "different_prompts"),
    ]
