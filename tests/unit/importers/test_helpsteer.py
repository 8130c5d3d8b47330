"""HelpSteer: the sign of a preference says which response is better, 0 that neither is."""

from pathlib import Path

import pytest

from tests.unit.importers.fixtures_helpsteer import second, third, write
from tests.unit.importers.logs import comparisons, read, read_lines, reasons, user, votes

FIRST, SECOND = "384,400 km.", "Far."


def test_preferences(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert comparisons(result) == [
        ("preference", f"chosen: {FIRST}", f"rejected: {SECOND}"),
        ("preference", "chosen: A light second.", f"rejected: {FIRST}"),
        ("preference", f"tied: {FIRST}", f"tied: {SECOND}"),
    ]
    assert result.events["prompt"].unique().to_list() == [[user("How far is the moon?")]]


@pytest.mark.parametrize("row", [second, third])
@pytest.mark.parametrize("preference", range(-3, 4))
def test_each_preference(tmp_path: Path, row: type, preference: int) -> None:
    events = read_lines(tmp_path, row(preference)).events
    first = "tied" if preference == 0 else "chosen" if preference < 0 else "rejected"
    assert dict(events.select("completion", "vote").rows())[FIRST] == first
    assert dict(events.select("completion", "position").rows()) == {FIRST: 1, SECOND: 2}


@pytest.mark.parametrize("preference", [4, -100, "1", True, 0.5])
def test_a_preference_off_the_scale_is_rejected_with_its_value(tmp_path: Path, preference: object) -> None:
    result = read_lines(tmp_path, third(), third(preference))
    assert reasons(result) == ["unknown_label"]
    assert repr(preference) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"overall_preference": None}, "missing_field"),
        ({"context": []}, "empty_prompt"),
        ({"response1": ""}, "empty_completion"),
        ({"response1": SECOND}, "same_answer"),
    ],
)
def test_a_row_that_is_not_clear_is_rejected(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    result = read_lines(tmp_path, third(), third(**changes))
    assert reasons(result) == [reason]
    assert len(votes(result)) == 2


def test_ratings_of_single_responses_go_in_as_a_product_log(tmp_path: Path) -> None:
    """The scale's meaning is stated, as for every number."""
    row = {"prompt": "How far is the moon?", "response": FIRST, "correctness": 4, "complexity": 1, "verbosity": 1}
    options = {"vote": "helpfulness", "up": "3,4", "down": "0,1", "unrated": "2"}
    rows = [row | {"helpfulness": rating, "response": f"{FIRST} {rating}"} for rating in range(5)]
    result = read_lines(tmp_path, *rows, options=options)
    assert [vote for _, vote in votes(result)] == ["down", "down", "unrated", "up", "up"]
