"""HH-RLHF: transcripts become conversations; rows whose sides do not share their prompt are rejected."""

from pathlib import Path

import pytest

from tests.unit.importers.fixtures_hh_rlhf import BEFORE, row, write
from tests.unit.importers.logs import assistant, comparisons, read, read_lines, reasons, user, votes


def test_a_pair(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert comparisons(result) == [("preference", "chosen: 384,400 km.", "rejected: Very far.\n\nReally.")]
    expected = [user("How far is the moon?"), assistant("Far."), user("How far exactly?")]
    assert result.events["prompt"].to_list() == [expected] * 2
    assert set(result.events["format"]) == {"hh_rlhf"}


def test_a_side_that_goes_on_is_one_turn(tmp_path: Path) -> None:
    before = "\n\nHuman: Hi\n\nHuman: Are you there?\n\nAssistant:"
    result = read_lines(tmp_path, row(before + " Yes", before + " No"))
    assert result.events["prompt"].to_list() == [[user("Hi\n\nAre you there?")]] * 2


def test_a_pair_delivered_twice_is_one_comparison(tmp_path: Path) -> None:
    result = read_lines(tmp_path, row(), row())
    assert result.events["deliveries"].to_list() == [2, 2]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(rejected=BEFORE), "empty_completion"),
        (row(chosen=BEFORE + " "), "empty_completion"),
        (row(rejected=BEFORE.replace("moon", "sun") + " Very far."), "different_prompts"),
        (row(rejected="\n\nHuman: How far?\n\nAssistant:\n\nHuman: So?\n\nAssistant: Far."), "empty_completion"),
        (row(rejected=BEFORE + " 384,400 km."), "same_answer"),
        (row(rejected=BEFORE + " Far.\n\nHuman: Thanks"), "not_an_answer"),
        (row(rejected="Very far."), "no_text"),
        (row(rejected="\n\nAssistant: Very far."), "no_text"),
        ({"chosen": row()["chosen"]}, "missing_field"),
        (row() | {"rejected": 7}, "wrong_type"),
    ],
)
def test_a_row_that_is_no_pair_is_rejected(tmp_path: Path, bad: dict[str, object], reason: str) -> None:
    result = read_lines(tmp_path, row(), row(), row(), bad)
    assert reasons(result) == [reason]
    assert len(votes(result)) == 2


def test_pairs_without_the_marks_stay_trls(tmp_path: Path) -> None:
    result = read_lines(tmp_path, {"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert set(result.events["format"]) == {"trl"}
