"""Two answers a row: which columns hold them, and what the verdict on them means."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_two_answers import annotation, own, write
from tests.unit.importers.logs import assistant, comparisons, read, read_lines, reasons, system, user
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.stages.events import EventsResult

OWN = {"prompt": "asked", "first": "left_text", "second": "right_text", "preference": "choice"}


def outcomes(result: EventsResult) -> list[str]:
    """`1`, `2`, `tied` or `both_bad` of each comparison in the order of rows: by place, not by text."""
    sides = result.events.sort("source_line", "position").select("source_line", "position", "vote").iter_rows()
    rows: dict[int, dict[int, str]] = {}
    for line, position, vote in sides:
        rows.setdefault(line, {})[position] = vote
    return [
        next((str(place) for place, vote in votes.items() if vote == "chosen"), votes[1]) for votes in rows.values()
    ]


def test_annotations_of_alpaca_eval_are_read_as_they_are(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert set(result.events["format"]) == {"two_answers"}
    assert outcomes(result) == ["1", "2", "tied", "1"]
    assert reasons(result) == ["no_vote"]
    first = result.events.filter(source_line=1, position=1).to_dicts()[0]
    assert first["prompt"] == [user("Which river is number 0?")]
    assert (first["completion"], first["vote"], first["model"]) == ("It is the Oder, number 0.", "chosen", "m-a")
    assert first["user_id"] is not None
    assert comparisons(result)[0][0] == "preference"


def test_an_input_follows_its_instruction_and_a_system_text_goes_before(tmp_path: Path) -> None:
    rows = [annotation(1, 1, input="Rome", system="Be brief."), annotation(2, 1, input=" ", system="")]
    result = read_lines(tmp_path, *rows)
    prompts = [event["prompt"] for event in result.events.filter(position=1).sort("source_line").to_dicts()]
    before = system("Be brief.")
    assert prompts == [
        [before, user("Which river is number 1?\nRome")],
        [user("Which river is number 2?")],
    ]


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"input": "q", "output_1": "x", "output_2": "y", "label": 2}, "2"),
        ({"question": "q", "response_j": "x", "response_k": "y"}, "1"),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "model_b"}, "2"),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "tie (bothbad)"}, "both_bad"),
        ({"prompt": "q", "Response_A": "x", "Response_B": "y", "label": "A>B"}, "1"),
        ({"history": "q", "human_ref_A": "x", "human_ref_B": "y", "labels": 0, "score_A": 3, "score_B": 9}, "2"),
        ({"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 1}, "2"),
        ({"prompt": "q", "answer1": "x", "answer2": "y", "preferred": "answer 2"}, "2"),
        ({"question": "q", "answer_a": "x", "answer_b": "y", "better": "y"}, "2"),
        ({"prompt": "q", "answer_1": "x", "answer_2": "y", "score_1": 0.5, "score_2": "0.50"}, "tied"),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "response_a_score": 2, "response_b_score": 1}, "1"),
        ({"orig_instruction": "q", "orig_response_A": "x", "orig_response_B": "y", "orig_preference": "B"}, "2"),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n", "winner": "n"}, "2"),
    ],
)
def test_usual_names(tmp_path: Path, row: dict[str, Any], outcome: str) -> None:
    result = read_lines(tmp_path, row)
    assert set(result.events["format"]) == {"two_answers"}
    assert outcomes(result) == [outcome]
    assert result.events.sort("position")["completion"].to_list() == ["x", "y"]


def test_an_arenas_table_with_a_column_an_outcome_and_turns_as_lists(tmp_path: Path) -> None:
    row = {"model_a": "m", "model_b": "n", "prompt": '["Hi"]', "response_a": '["Hello"]', "response_b": '["Hey"]'}
    won = {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}
    talk = {"prompt": '["Hi", "Bye"]', "response_a": '["Hello", "See you"]', "response_b": '["Hello", "Ciao"]'}
    apart = talk | {"response_b": '["Hey", "Ciao"]'}
    tie = {"winner_model_b": 0, "winner_tie": 1}
    result = read_lines(tmp_path, row | won, row | talk | won | tie, row | apart | won)
    assert outcomes(result) == ["2", "tied"]
    assert reasons(result) == ["different_prompts"]
    assert result.events.filter(completion="Ciao")["prompt"].to_list() == [
        [user("Hi"), assistant("Hello"), user("Bye")]
    ]


@pytest.mark.parametrize(
    ("labels", "stated", "expected"),
    [
        ((1, 2, 1.5, 0), {}, ["1", "2", "tied", "tied"]),
        ((1, 1), {}, ["1", "1"]),
        (("1", "2.0"), {}, ["1", "2"]),
        ((0, 1), {"first_wins": 0, "second_wins": 1}, ["1", "2"]),
        ((0, 1), {"first_wins": 1, "second_wins": 0}, ["2", "1"]),
        ((-3, 2, 0), {"first_wins": "<0", "second_wins": ">0", "tied": 0}, ["1", "2", "tied"]),
        (("yes", "no"), {"first_wins": "yes", "second_wins": "no"}, ["1", "2"]),
        ((1, 2), {"first_wins": 2, "second_wins": 1}, ["2", "1"]),
        (("neither", "same"), {"both_bad": "neither"}, ["both_bad", "tied"]),
    ],
)
def test_what_each_value_means(
    tmp_path: Path, labels: tuple[object, ...], stated: dict[str, Any], expected: list[str]
) -> None:
    rows = [annotation(number, label) for number, label in enumerate(labels)]
    assert outcomes(read_lines(tmp_path, *rows, options=stated)) == expected


@pytest.mark.parametrize("labels", [(0, 1), (1, 3), (-1, 1, 0), (1, 2, 5), (True, False), ("good", "bad")])
def test_a_scale_that_could_mean_either_answer_is_refused_with_the_options_that_state_it(
    tmp_path: Path, labels: tuple[object, ...]
) -> None:
    result = read_lines(tmp_path, *[annotation(number, label) for number, label in enumerate(labels)])
    assert result.events.is_empty()
    assert reasons(result) == ["unknown_label"] * len(labels)
    assert all("events.options: first_wins: " in detail for detail in result.rejects["detail"])


def test_one_number_off_the_scale_late_in_the_file_makes_the_others_unknown(tmp_path: Path) -> None:
    rows = [annotation(number, 1 + number % 2) for number in range(300)]
    assert len(outcomes(read_lines(tmp_path, *rows))) == 300
    assert read_lines(tmp_path, *rows, annotation(300, 4)).events.is_empty()


def test_letters_number_nothing(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "response_a": f"x{n}", "response_b": f"y{n}", "label": n % 3} for n in range(3)]
    assert read_lines(tmp_path, *rows).events.is_empty()


def test_columns_of_ones_own_are_stated(tmp_path: Path) -> None:
    rows = [own("left", who="ann", by_left="m", by_right="n"), own("right_text", who="bob", asked="And cold?")]
    beside = {"rater": "who", "first_model": "by_left", "second_model": "by_right"}
    result = read_lines(tmp_path, *rows, options=OWN | beside)
    assert outcomes(result) == ["1", "2"]
    assert result.events.filter(source_line=1).sort("position")["model"].to_list() == ["m", "n"]
    assert result.events["user_id"].n_unique() == 2


def test_scores_of_ones_own_are_stated(tmp_path: Path) -> None:
    rows = [own(None, l=3, r=4), own(None, l=True, r="false", asked="b"), own(None, l=1, r=None, asked="c")]
    stated = {"prompt": "asked", "first": "left_text", "second": "right_text", "first_score": "l", "second_score": "r"}
    result = read_lines(tmp_path, *rows, options=stated)
    assert outcomes(result) == ["2", "1"]
    assert reasons(result) == ["no_vote"]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (own("left"), OWN | {"second": "right"}, r"no column for second \('right'\) among: asked, left_text"),
        (own("left"), {"preference": "choice"}, "no column for first and second, prompt among"),
        (annotation(1, 1, winner="a"), {}, "preference and winner could each be the preference"),
        (annotation(1, 1, response_1="x", response_2="y"), {}, "output_1 and response_1 could each be the first"),
    ],
)
def test_columns_that_are_missing_or_could_be_meant_twice_are_asked_for(
    tmp_path: Path, row: dict[str, Any], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_lines(tmp_path, row, options=options)


def test_stated_labels_that_collide_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stated for two votes"):
        read_lines(tmp_path, annotation(1, 1), options={"first_wins": "1", "second_wins": "1"})


def test_three_answers_are_not_two(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format fits"):
        read_lines(tmp_path, annotation(1, 1, output_3="z"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"output_2": "It is the Oder, number 1."}, "same_answer"),
        ({"output_2": " "}, "empty_completion"),
        ({"output_1": None}, "missing_field"),
        ({"instruction": ""}, "empty_prompt"),
    ],
)
def test_a_row_without_two_answers_and_a_prompt_is_rejected(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    result = read_lines(tmp_path, annotation(1, 1, **changes), annotation(2, 2))
    assert reasons(result) == [reason]
    assert outcomes(result) == ["2"]


def test_csv_gives_what_json_gives(tmp_path: Path) -> None:
    rows = [annotation(1, 1), annotation(2, 2), annotation(3, 1.5)]
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    path = tmp_path / "log.csv"
    path.write_text("".join(",".join(json.dumps(cell) for cell in line) + "\n" for line in lines), encoding="utf-8")
    assert outcomes(read(path)) == outcomes(read_lines(tmp_path, *rows)) == ["1", "2", "tied"]
