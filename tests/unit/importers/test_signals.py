"""What a product log knows beside votes: comparisons, exposure, copies, edits, other tries."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.logs import comparisons, read, read_lines, reasons, votes
from tests.unit.importers.test_thumbs_jsonl import ROW
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.importers.shared.signals import COMPARED, DONE

FIRST = ROW | {"event_id": "e1", "response": "Far.", "feedback": None}
SECOND = ROW | {"event_id": "e2", "response": "384,400 km.", "feedback": None}


def sides(first: str, second: str, **other: Any) -> list[dict[str, Any]]:
    common = {"comparison_id": "k1", **other}
    return [FIRST | {"feedback": first} | common, SECOND | {"feedback": second} | common]


def test_two_rows_of_one_comparison(tmp_path: Path) -> None:
    result = read_lines(tmp_path, *sides("rejected", "chosen"))
    assert comparisons(result) == [("preference", "chosen: 384,400 km.", "rejected: Far.")]
    kinds = [row[0] for row in comparisons(read_lines(tmp_path, *sides("tie", "tied", comparison_kind="arena")))]
    assert kinds == ["arena"]


@pytest.mark.parametrize(("vote", "labels"), COMPARED.items())
def test_each_word_for_a_side(tmp_path: Path, vote: str, labels: tuple[str, ...]) -> None:
    rows = [FIRST | {"event_id": label, "feedback": label.title(), "comparison_id": label} for label in labels]
    assert set(read_lines(tmp_path, *rows).events["vote"]) == {vote}


def test_a_word_of_ones_own_for_a_side(tmp_path: Path) -> None:
    result = read_lines(tmp_path, *sides("lost", "won"), options={"chosen": "won", "rejected": "lost"})
    assert comparisons(result) == [("preference", "chosen: 384,400 km.", "rejected: Far.")]


def test_a_thumb_beside_a_comparison_id_is_a_thumb(tmp_path: Path) -> None:
    result = read_lines(tmp_path, *sides("up", "down"))
    assert result.events["comparison_id"].null_count() == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"comparison_id": None}, "missing_field"),
        ({"comparison_kind": "duel"}, "unknown_label"),
        ({"comparison_kind": 1}, "unknown_label"),
    ],
)
def test_a_side_that_is_not_clear_is_rejected(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    first, second = sides("rejected", "chosen", comparison_kind=None)
    assert reasons(read_lines(tmp_path, first, second | change)) == [reason]


def test_a_side_without_a_column_for_comparisons_is_rejected(tmp_path: Path) -> None:
    assert reasons(read_lines(tmp_path, FIRST | {"feedback": "chosen"})) == ["missing_field"]


@pytest.mark.parametrize(("word", "vote"), DONE.items())
def test_a_log_of_actions_has_them_in_the_votes_column(tmp_path: Path, word: str, vote: str) -> None:
    assert votes(read_lines(tmp_path, FIRST | {"feedback": word})) == [("Far.", vote)]


@pytest.mark.parametrize("yes", [True, "true", "TRUE"])
def test_copies_and_tries_are_events_beside_the_vote(tmp_path: Path, yes: object) -> None:
    row = FIRST | {"feedback": "down", "copied": yes, "regenerated": yes}
    result = read_lines(tmp_path, row, SECOND | {"copied": False, "regenerated": None})
    assert votes(result) == [("384,400 km.", "unrated"), ("Far.", "copied"), ("Far.", "down"), ("Far.", "regenerated")]
    assert result.notes["source_event_ids_with_several_contents"] == 0


@pytest.mark.parametrize("value", [1, "yes", 0.0, []])
def test_a_flag_that_is_no_boolean_costs_the_flag(tmp_path: Path, value: object) -> None:
    result = read_lines(tmp_path, FIRST | {"copied": value})
    assert (votes(result), reasons(result)) == ([("Far.", "unrated")], ["wrong_type"])


def test_exposure_goes_with_the_event(tmp_path: Path) -> None:
    row = FIRST | {"propensity": 0.25, "answer_position": 2}
    (event,) = read_lines(tmp_path, row).events.to_dicts()
    assert (event["propensity"], event["position"]) == (0.25, 2)
    pl.DataFrame([row]).write_csv(tmp_path / "log.csv")
    (event,) = read(tmp_path / "log.csv").events.to_dicts()
    assert (event["propensity"], event["position"]) == (0.25, 2)
    stated = read_lines(tmp_path, FIRST | {"p": 1, "slot": 1}, options={"propensity": "p", "position": "slot"})
    assert stated.events.select("propensity", "position").rows() == [(1.0, 1)]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"propensity": 0}, "propensity: not in (0, 1]"),
        ({"propensity": 1.5}, "propensity: not in (0, 1]"),
        ({"propensity": -0.5}, "propensity: not in (0, 1]"),
        ({"propensity": True}, "propensity: no number"),
        ({"propensity": "half"}, "propensity: no number"),
        ({"answer_position": 10**400}, "answer_position: no number"),
        ({"answer_position": 0}, "answer_position: not 1, 2, ..."),
        ({"answer_position": 1.5}, "answer_position: not 1, 2, ..."),
        ({"answer_position": "left"}, "answer_position: no number"),
    ],
)
def test_an_exposure_that_is_none_is_left_out_and_said(tmp_path: Path, change: dict[str, object], seen: str) -> None:
    result = read_lines(tmp_path, FIRST | {"propensity": 1, "answer_position": 1} | change)
    (event,) = result.events.to_dicts()
    assert (event["propensity"] is None) == ("propensity" in change) and (event["position"] is None) != (
        "propensity" in change
    )
    assert result.notes["remarks"]["unreadable_field"] == {seen: 1}


def test_a_place_on_a_page_is_not_taken_for_one_among_answers(tmp_path: Path) -> None:
    result = read_lines(tmp_path, FIRST | {"position": "left"})
    assert result.events["position"].to_list() == [None]


def test_an_edit_is_chosen_over_what_it_edits(tmp_path: Path) -> None:
    row = FIRST | {"feedback": "down", "edited_response": "Very far.", "propensity": 0.5}
    result = read_lines(tmp_path, row, SECOND | {"edited_response": None}, SECOND | {"event_id": "e3"})
    assert comparisons(result) == [("edit", "chosen: Very far.", "rejected: Far.")]
    written = result.events.filter(pl.col("vote") == "chosen").select("model", "propensity").rows()
    assert written == [(None, None)]
    unchanged = read_lines(tmp_path, FIRST | {"edited_response": "Far."})
    assert votes(unchanged) == [("Far.", "unrated")]
    assert reasons(read_lines(tmp_path, FIRST | {"edited_response": 7})) == ["wrong_type"]


def test_a_signal_that_first_comes_late_in_the_log_is_read(tmp_path: Path) -> None:
    plain = [SECOND | {"event_id": f"p{number}"} for number in range(300)]
    late = FIRST | {"copied": True, "edited_completion": "Very far.", "propensity": 0.5}
    result = read_lines(tmp_path, *plain, late)
    assert comparisons(result) == [("edit", "chosen: Very far.", "rejected: Far.")]
    assert ("Far.", "copied") in votes(result)
    assert reasons(read_lines(tmp_path, *plain, FIRST | {"regenerated_from": "p1"})) == ["missing_answer"]


TRY = SECOND | {"regenerated_from": "e1"}


def test_another_try_is_chosen_over_what_it_was_asked_for_instead_of(tmp_path: Path) -> None:
    for rows in ((FIRST, TRY), (TRY, FIRST)):
        result = read_lines(tmp_path, *rows)
        assert comparisons(result) == [("regenerate", "chosen: 384,400 km.", "rejected: Far.")]
        assert ("Far.", "regenerated") in votes(result)
        assert result.notes["source_event_ids_with_several_contents"] == 0


def test_a_try_that_satisfied_no_more_is_not_chosen(tmp_path: Path) -> None:
    disliked = read_lines(tmp_path, FIRST, TRY | {"feedback": "down"})
    assert comparisons(disliked) == []
    assert ("Far.", "regenerated") in votes(disliked)
    third = ROW | {"event_id": "e3", "response": "One light second.", "feedback": None, "regenerated_from": "e2"}
    chain = read_lines(tmp_path, FIRST, TRY, third)
    assert comparisons(chain) == [("regenerate", "chosen: One light second.", "rejected: 384,400 km.")]


def test_a_logs_own_flag_counts_once(tmp_path: Path) -> None:
    result = read_lines(tmp_path, FIRST | {"regenerated": True}, TRY)
    assert [vote for _, vote in votes(result)].count("regenerated") == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([TRY], "missing_answer"),
        ([FIRST | {"prompt": "Another question"}, TRY], "different_prompts"),
        ([FIRST | {"response": "384,400 km."}, TRY], "same_answer"),
    ],
)
def test_a_try_whose_first_answer_is_not_clear_costs_the_comparison(
    tmp_path: Path, rows: list[dict[str, object]], reason: str
) -> None:
    result = read_lines(tmp_path, *rows)
    assert reasons(result) == [reason]
    assert ("384,400 km.", "unrated") in votes(result)


def test_tries_name_rows_by_id(tmp_path: Path) -> None:
    row = {name: value for name, value in TRY.items() if name != "event_id"}
    with pytest.raises(InputError, match="column regenerated_from names other rows, and no column holds their ids"):
        read_lines(tmp_path, row)
