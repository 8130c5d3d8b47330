"""Label Studio: every annotation of a task is a comparison of its own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.importers.fixtures_label_studio import annotation, task, write
from tests.unit.importers.logs import comparisons, read, read_lines, reasons, user, votes

LEFT, RIGHT = "Far.", "384,400 km."


def test_two_annotations_are_two_comparisons_and_a_skip_is_counted(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert comparisons(result) == [
        ("preference", f"chosen: {RIGHT}", f"rejected: {LEFT}"),
        ("preference", f"chosen: {LEFT}", f"rejected: {RIGHT}"),
    ]
    assert result.notes["reject_reasons"] == {"cancelled": 1}
    assert result.events["prompt"].unique().to_list() == [[user("How far is the moon?")]]
    assert set(result.events.select("completion", "position").rows()) == {(LEFT, 1), (RIGHT, 2)}
    assert set(result.events["created_at"]) == {datetime(2026, 3, 1, 12, 5, tzinfo=UTC)}
    assert result.events["user_id"].n_unique() == 2
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_options_name_the_fields(tmp_path: Path) -> None:
    row = task(annotation(1, "left"), data={"q": "Hi", "a": "Hello", "b": "Hey"})
    result = read_lines(tmp_path, row, options={"prompt": "q", "left": "a", "right": "b"})
    assert votes(result) == [("Hello", "chosen"), ("Hey", "rejected")]
    assert reasons(read_lines(tmp_path, row)) == ["missing_field"]


@pytest.mark.parametrize("selected", ["Left", "both", 1, True])
def test_a_choice_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, selected: object) -> None:
    result = read_lines(tmp_path, task(annotation(1, "left"), annotation(2, selected)))
    assert reasons(result) == ["unknown_label"]
    assert repr(selected) in result.rejects["detail"][0]
    assert len(comparisons(result)) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (task(), "no_vote"),
        (task(annotation(1, None)), "no_vote"),
        (task(annotation(1, "left", result=[{"type": "choices", "value": {"choices": ["good"]}}])), "no_vote"),
        (task(annotation(1, "left"), data={"prompt": "p", "answer1": "a", "answer2": ""}), "empty_completion"),
        (task(annotation(1, "left"), data={"prompt": "p", "answer1": "a", "answer2": 7}), "wrong_type"),
        (task(annotation(1, "left"), data={"prompt": "p", "answer1": "a", "answer2": "a"}), "same_answer"),
        (task(annotation(1, "left"), annotations="none"), "wrong_type"),
    ],
)
def test_a_task_or_an_annotation_that_is_not_clear_is_rejected(
    tmp_path: Path, bad: dict[str, object], reason: str
) -> None:
    result = read_lines(tmp_path, task(annotation(1, "left")), bad)
    assert reasons(result) == [reason]
    assert len(comparisons(result)) == 1


def test_results_of_other_kinds_beside_the_choice_are_let_pass(tmp_path: Path) -> None:
    row = annotation(1, "left")
    row["result"].append({"type": "textarea", "value": {"text": ["because"]}})
    assert len(comparisons(read_lines(tmp_path, task(row)))) == 1
