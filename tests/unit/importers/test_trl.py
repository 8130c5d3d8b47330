"""TRL's layouts, against TRL's own rule for implicit prompts where TRL is installed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.unit.importers.logs import assistant, user
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.importers.shared.pairs import shared_text
from thumbline.pipeline.stages.events import EventsResult, ingest


def read(folder: Path, *rows: dict[str, Any], parquet: bool = False) -> EventsResult:
    if parquet:
        path = folder / "rows.parquet"
        pl.DataFrame(list(rows)).write_parquet(path)
    else:
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ingest(EventsConfig(inputs=(str(path),)))


SKY = [user("What color is the sky?")]
LAYOUTS = {
    "unpaired text": {"prompt": "What color is the sky?", "completion": "Blue.", "label": True},
    "unpaired messages": {"prompt": SKY, "completion": [assistant("Blue.")], "label": True},
    "pair text": {"prompt": "What color is the sky?", "chosen": "Blue.", "rejected": "Green."},
    "pair messages": {"prompt": SKY, "chosen": [assistant("Blue.")], "rejected": [assistant("Green.")]},
    "implicit text": {"chosen": "What color is the sky?Blue.", "rejected": "What color is the sky?Green."},
    "implicit messages": {"chosen": [*SKY, assistant("Blue.")], "rejected": [*SKY, assistant("Green.")]},
    "prompt repeated in the sides": {
        "prompt": "What color is the sky?",
        "chosen": [*SKY, assistant("Blue.")],
        "rejected": [*SKY, assistant("Green.")],
    },
}


@pytest.mark.parametrize("parquet", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout(tmp_path: Path, layout: str, parquet: bool) -> None:
    result = read(tmp_path, LAYOUTS[layout], parquet=parquet)
    events = {event["completion"]: event for event in result.events.to_dicts()}
    assert result.rejects.is_empty()
    assert all(event["prompt"] == SKY and event["format"] == "trl" for event in events.values())
    if layout.startswith("unpaired"):
        assert events["Blue."]["vote"] == "up"
        assert events["Blue."]["comparison_id"] is None
    else:
        assert {completion: event["vote"] for completion, event in events.items()} == {
            "Blue.": "chosen",
            "Green.": "rejected",
        }
        assert len({event["comparison_id"] for event in events.values()}) == 1


@pytest.mark.parametrize("names", [("score_chosen", "score_rejected"), ("chosen_score", "rejected_score")])
@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((8.5, 7), ["chosen", "rejected"]),
        ((7, 7.0), ["tied", "tied"]),
        ((None, 7), ["chosen", "rejected"]),
        (("7", "7"), ["chosen", "rejected"]),
    ],
)
def test_equal_scores_beside_a_pair_are_a_tie(
    tmp_path: Path, names: tuple[str, str], scores: tuple[object, object], expected: list[str]
) -> None:
    row = LAYOUTS["pair messages"] | dict(zip(names, scores, strict=True)) | {"prompt_id": "x", "messages": SKY}
    result = read(tmp_path, row)
    assert result.events.sort("completion")["vote"].to_list() == expected
    assert result.events["comparison_id"].n_unique() == 1


def test_scores_that_contradict_the_pair_reject_it(tmp_path: Path) -> None:
    result = read(tmp_path, LAYOUTS["pair text"] | {"score_chosen": 3.0, "score_rejected": 4.0})
    assert result.rejects["reason"].to_list() == ["contradiction"]


def test_a_false_label_is_a_down_vote(tmp_path: Path) -> None:
    result = read(tmp_path, {"prompt": "p", "completion": "c", "label": False})
    assert result.events["vote"].to_list() == ["down"]


def test_a_pair_delivered_twice_keeps_one_comparison(tmp_path: Path) -> None:
    result = read(tmp_path, LAYOUTS["pair text"], LAYOUTS["pair text"])
    assert result.events["deliveries"].to_list() == [2, 2]
    assert result.events["comparison_id"].n_unique() == 1


def test_opposite_pairs_are_two_comparisons(tmp_path: Path) -> None:
    pair = LAYOUTS["pair text"]
    result = read(tmp_path, pair, pair | {"chosen": pair["rejected"], "rejected": pair["chosen"]})
    assert result.events["comparison_id"].n_unique() == 2
    assert result.counts.rows_out == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "completion": "c", "label": 2}, "unknown_label"),
        ({"prompt": "p", "completion": "c", "label": None}, "missing_field"),
        ({"prompt": "p", "completion": "c", "label": "good"}, "unknown_label"),
        ({"prompt": "p", "chosen": "c"}, "missing_field"),
        ({"prompt": "p", "chosen": "c", "rejected": ""}, "empty_completion"),
        ({"prompt": "p", "chosen": "c", "rejected": [assistant("a"), user("b")]}, "several_messages"),
        ({"prompt": "p", "chosen": "c", "rejected": [user("b")]}, "unknown_role"),
        ({"chosen": "What?Yes", "rejected": "Other"}, "empty_prompt"),
        ({"chosen": "What? Yes", "rejected": "What? Yes"}, "empty_completion"),
        ({"chosen": "What?", "rejected": [assistant("a")]}, "wrong_type"),
        ({"chosen": [*SKY, assistant("a")], "rejected": [*SKY, assistant("a")]}, "empty_completion"),
        ({"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("b")]}, "empty_prompt"),
        ({"chosen": "p " + "c", "rejected": 7}, "wrong_type"),
    ],
)
def test_a_row_that_fits_no_layout_is_rejected_whole(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    good = LAYOUTS["pair text"] | LAYOUTS["unpaired text"] if "label" in row else LAYOUTS["pair text"]
    result = read(tmp_path, good, row)
    assert result.rejects.select("source_line", "reason").rows() == [(2, reason)]
    assert result.counts.rows_out == 2


def test_the_space_before_the_answers_goes_with_them(tmp_path: Path) -> None:
    result = read(tmp_path, {"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert sorted(result.events["completion"]) == [" blue.", " green."]
    assert result.events["prompt"].to_list() == [[user("The sky is")]] * 2


TEXT = st.text("ab ", min_size=1)


@pytest.fixture(scope="module")
def extract_prompt() -> Callable[[dict[str, str]], dict[str, str]]:
    return pytest.importorskip("trl.data_utils").extract_prompt


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, TEXT, TEXT)
def test_implicit_prompts_are_those_of_trl(
    extract_prompt: Callable[[dict[str, str]], dict[str, str]], beginning: str, left: str, right: str
) -> None:
    chosen, rejected = beginning + left, beginning + right
    # Where one text begins with the other TRL cuts a character too few; such rows are rejected here.
    assume(any(a != b for a, b in zip(chosen, rejected, strict=False)))
    assert chosen[: shared_text(chosen, rejected)] == extract_prompt({"chosen": chosen, "rejected": rejected})["prompt"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "shared"), [("", "", 0), ("x", "y", 0), ("ab", "abc", 2), (" a", "b", 0)]
)
def test_texts_without_a_prompt_or_without_an_answer(chosen: str, rejected: str, shared: int) -> None:
    assert shared_text(chosen, rejected) == shared


def test_a_question_beside_conversations_about_another_one_is_named_as_not_read(tmp_path: Path) -> None:
    def sides(asked: str) -> dict[str, Any]:
        return {"chosen": [user(asked), assistant("Yes.")], "rejected": [user(asked), assistant("No.")]}

    same = {"question": "Is ice cold?"} | sides("Is ice cold?")
    other = {"question": "Is steam hot?"} | sides("Is fire hot?")
    listed = {"messages": [user("Is snow white?")]} | sides("Is coal black?")
    result = read(tmp_path, same, other, listed)
    assert result.events.height == 6
    assert result.notes["remarks"] == {"unread_column": {"messages": 1, "question": 1}}


def test_a_prompt_that_ends_in_the_rows_answer_is_cut_before_it_and_another_beginning_is_not(tmp_path: Path) -> None:
    def asked(last: str) -> dict[str, Any]:
        return {"prompt": [user("Count."), assistant(last)], "chosen": "One, two.", "rejected": "No."}

    whole, worse, begun = (read(tmp_path, asked(last)).events for last in ("One, two.", "No.", "One,"))
    assert {len(prompt) for frame in (whole, worse) for prompt in frame["prompt"]} == {1}
    assert [len(prompt) for prompt in begun["prompt"]] == [2, 2]
