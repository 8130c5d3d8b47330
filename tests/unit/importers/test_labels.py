"""Labels that options state: for every format, in every spelling, as words, numbers and ranges of numbers."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_open_webui import entry
from tests.unit.importers.logs import read, write_lines
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.importers.registry import IMPORTERS
from thumbline.pipeline.importers.shared.labels import label_key, stated_labels
from thumbline.pipeline.importers.shared.values import vote_table

# A pair of answers of which one stands as the better holds no label.
WITHOUT_LABELS = {"hh_rlhf", "openai_preference"}


def rated(folder: Path, *ratings: object, **options: Any) -> list[tuple[str, str]]:
    """Rating and vote of each row of a product log."""
    rows = [{"prompt": "Why?", "completion": f"Because {n}.", "rating": r} for n, r in enumerate(ratings)]
    result = read(write_lines(folder / "log.jsonl", *rows), options=options)
    found = dict(result.events.select("source_line", "vote").iter_rows())
    return [(str(r), found.get(n, "rejected")) for n, r in enumerate(ratings, start=1)]


@pytest.mark.parametrize("name", sorted(set(IMPORTERS) - WITHOUT_LABELS))
def test_every_format_with_a_vote_takes_stated_labels(name: str) -> None:
    assert {"up", "down"} <= IMPORTERS[name].options.keys() or {"first_wins", "second_wins"} <= IMPORTERS[
        name
    ].options.keys()


def test_stars_with_a_cut_leave_what_lies_between_unsaid(tmp_path: Path) -> None:
    stars = (1, 2, 3, 4.5, "5", "2.0", "*****")
    assert [vote for _, vote in rated(tmp_path, *stars, up=">=4", down="<=2")] == [
        *("down", "down", "rejected", "up", "up", "down", "rejected")
    ]


def test_words_of_ones_own_in_any_case_beside_the_known_ones(tmp_path: Path) -> None:
    votes = rated(tmp_path, "GOOD+", "bad+", "--", "like", up="good+", down="BAD+", unrated="--")
    assert [vote for _, vote in votes] == ["up", "down", "unrated", "up"]


def test_a_stated_label_goes_before_a_known_one(tmp_path: Path) -> None:
    assert rated(tmp_path, "like", down="like") == [("like", "down")]


def test_numbers_need_no_quotes_and_lists_are_labels(tmp_path: Path) -> None:
    assert rated(tmp_path, 1, 0, 5, up=[1, 5], down=0) == [("1", "up"), ("0", "down"), ("5", "up")]


def test_a_boolean_of_python_is_its_word(tmp_path: Path) -> None:
    assert rated(tmp_path, True, up=False, down=True) == [("True", "down")]
    with pytest.raises(ValueError, match="null is unrated already"):
        EventsConfig.model_validate({"inputs": ["x"], "options": {"up": [None]}})


def test_one_number_is_one_label_however_it_is_written() -> None:
    assert {label_key(value) for value in (1, 1.0, "1", "1.0", " 1.00 ")} == {"1"}
    assert {label_key(value) for value in (2.5, "2.5", "2.50")} == {"2.5"}
    assert [label_key(value) for value in (True, None, [], 10**400, "+1")] == ["true", "", "", "", "+1"]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"up": "GOOD", "down": "good"}, "label 'good' is stated for two votes: 'up' and 'down'"),
        ({"up": "1.0", "down": "0, 1"}, "label '1' is stated for two votes"),
        ({"up": ">=3", "down": "<=3"}, "options up and down both state the meaning of one number"),
        ({"up": ">=3", "down": "4"}, "both state the meaning of one number"),
        ({"up": ">3", "down": "<4"}, "both state the meaning of one number"),
        ({"up": "4,"}, "empty label"),
    ],
)
def test_labels_that_collide_are_refused(stated: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stated_labels(stated)


def test_ranges_that_touch_without_a_number_in_common_are_two() -> None:
    table = vote_table({"up": ">=4, 10", "down": "<4"})
    assert [table.get(label) for label in ("4", "3.99", "10", "-7", "+9")] == ["up", "down", "up", "down", "up"]


def test_a_refused_label_names_the_options_that_state_it(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "completion": "So.", "rating": rating} for rating in ("Fine", 3, "x" * 50, ["a"])]
    details = read(write_lines(tmp_path / "log.jsonl", *rows)).rejects["detail"].to_list()
    assert 'state what it means in events.options: up: "Fine" or down: "Fine"' in details[0]
    assert 'up: "3" or down: "3"' in details[1]
    # A text is no label: it stays out of the message.
    assert "events.options" not in details[2] + details[3]


def test_a_format_of_its_own_scale_takes_other_labels_too(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "log.jsonl", entry("a2", "great", None))
    refused = read(path, format="open_webui").rejects["detail"].to_list()
    assert 'up: "great" or down: "great"' in refused[0]
    assert read(path, format="open_webui", options={"up": "great"}).events["vote"].to_list() == ["up"]
