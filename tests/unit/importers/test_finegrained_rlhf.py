"""Fine-grained RLHF: six judgements of four answers."""

from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_finegrained_rlhf import row, write
from tests.unit.importers.logs import SHARED, comparisons, read, read_lines, reasons, user
from thumbline.pipeline.errors import ConfigError

REAL_LOG = SHARED / "finegrained_rlhf" / "dev_feedback.json"


def test_six_judgements_are_six_comparisons(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert comparisons(result) == [
        ("preference", "chosen: Answer 1", "rejected: Answer 3"),
        ("preference", "chosen: Answer 2", "rejected: Answer 3"),
        ("preference", "chosen: Answer 4", "rejected: Answer 1"),
        ("preference", "chosen: Answer 4", "rejected: Answer 3"),
        ("preference", "tied: Answer 1", "tied: Answer 2"),
        ("preference", "tied: Answer 2", "tied: Answer 4"),
    ]
    assert set(result.events.select("completion", "position").rows()) == {(f"Answer {n}", n) for n in (1, 2, 3, 4)}
    assert result.events["prompt"].unique().to_list() == [[user("How far is the moon?")]]
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_the_passages_go_before_the_question_where_that_is_stated(tmp_path: Path) -> None:
    result = read_lines(tmp_path, row(), options={"passages": "true"})
    expected = "Moon The Moon orbits Earth.\n\nMars Mars is red.\n\nHow far is the moon?"
    assert result.events["prompt"].unique().to_list() == [[user(expected)]]
    with pytest.raises(ConfigError, match="option passages is 'yes', not true or false"):
        read_lines(tmp_path, row(), options={"passages": "yes"})
    bad = read_lines(tmp_path, row(passages=["text"]), options={"passages": "true"})
    assert reasons(bad) == ["wrong_type"]


@pytest.mark.parametrize("judgement", [3, -1, "1", True, 0.5, None])
def test_a_judgement_that_is_not_known_costs_that_pair(tmp_path: Path, judgement: object) -> None:
    result = read_lines(tmp_path, row(judgement, 1, 1, 1, 1, 1))
    assert reasons(result) == ["unknown_label"]
    shown = repr(judgement) if judgement is not None else "NoneType"
    assert "preference[0]" in result.rejects["detail"][0]
    assert shown in result.rejects["detail"][0]
    assert len(comparisons(result)) == 5


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"preference": [1, 1, 1]}, ["wrong_type"]),
        ({"preference": None}, ["missing_field"]),
        ({"question": " "}, ["empty_prompt"]),
        ({"prediction 4": ""}, ["empty_completion"] * 3),
        ({"prediction 4": "Answer 1"}, ["same_answer"]),
    ],
)
def test_what_is_missing_costs_what_needs_it(tmp_path: Path, changes: dict[str, object], lost: list[str]) -> None:
    assert reasons(read_lines(tmp_path, row(), row(**changes))) == lost


@pytest.mark.skipif(not REAL_LOG.is_file(), reason="the fine-grained RLHF feedback is not beside the repository")
def test_the_real_feedback_gives_its_counts() -> None:
    result = read(REAL_LOG)
    assert result.rejects.is_empty()
    assert result.notes["records"] == 500
    first = result.events.sort("position").group_by("comparison_id", maintain_order=True).agg(pl.col("vote").first())
    counts = dict(first["vote"].cast(pl.String).value_counts().rows())
    assert counts == {"tied": 384, "chosen": 1_577, "rejected": 1_039}
