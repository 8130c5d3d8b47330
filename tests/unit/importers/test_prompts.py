"""Prompts out of columns: read under their usual and stated names, and never made up."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.reading.remarks import IMPLICIT, UNREAD
from thumbline.pipeline.stages.events import EventsResult, ingest

SIDES = {"chosen": "Tea is made with hot water.", "rejected": "Tea is made with cold water."}
ASKED = "How is tea made?"


def read(folder: Path, *rows: dict[str, Any], **options: str) -> EventsResult:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ingest(EventsConfig(inputs=(str(path),), options=options))


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def said(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def prompts(result: EventsResult) -> list[list[tuple[str, str]]]:
    assert result.rejects.is_empty(), result.rejects.to_dicts()
    return [said(prompt) for prompt in result.events["prompt"].to_list()]


USER = ("user", ASKED)
SYSTEM = ("system", "Be brief.")
PARTS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "question": ({"question": ASKED}, [USER]),
    "query": ({"query": ASKED}, [USER]),
    "input alone": ({"input": ASKED}, [USER]),
    "instruction": ({"instruction": ASKED}, [USER]),
    "instruction and input": ({"instruction": "Translate.", "input": "tea"}, [("user", "Translate.\ntea")]),
    "instruction and a blank input": ({"instruction": ASKED, "input": " "}, [USER]),
    "a blank instruction and input": ({"instruction": "", "input": ASKED}, [USER]),
    "messages": ({"messages": [turn("user", ASKED)]}, [USER]),
    "conversations": ({"conversations": [turn("user", ASKED)]}, [USER]),
    "a prompt before a question": ({"prompt": ASKED, "question": "Another?"}, [USER]),
    "a null prompt and a question": ({"prompt": None, "question": ASKED}, [USER]),
    "system": ({"system": "Be brief.", "question": ASKED}, [SYSTEM, USER]),
    "system_prompt": ({"system_prompt": "Be brief.", "prompt": ASKED}, [SYSTEM, USER]),
    "a blank system": ({"system": "", "prompt": ASKED}, [USER]),
    "a system that the messages repeat": (
        {"system": "Be brief.", "messages": [turn(*SYSTEM), turn(*USER)]},
        [SYSTEM, USER],
    ),
    "history of pairs": (
        {"history": [["Hi", "Hello."]], "instruction": ASKED, "system": "Be brief."},
        [SYSTEM, ("user", "Hi"), ("assistant", "Hello."), USER],
    ),
    "history of messages": (
        {"history": [turn("user", "Hi"), turn("assistant", "Hello.")], "prompt": ASKED},
        [("user", "Hi"), ("assistant", "Hello."), USER],
    ),
    "history as JSON": (
        {"history": '[["Hi", "Hello."]]', "prompt": ASKED},
        [("user", "Hi"), ("assistant", "Hello."), USER],
    ),
    "history as Python writes it": (
        {"history": "[['Hi', 'Hello.']]", "prompt": ASKED},
        [("user", "Hi"), ("assistant", "Hello."), USER],
    ),
    "an empty history": ({"history": [], "prompt": ASKED}, [USER]),
}
ANSWERS: dict[str, dict[str, Any]] = {
    "pair": SIDES,
    "labelled": {"completion": "With hot water.", "label": True},
    "voted": {"response": "With hot water.", "feedback": "up"},
}


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize("parts", PARTS)
def test_parts_of_a_prompt_are_read_under_their_usual_names(tmp_path: Path, parts: str, answers: str) -> None:
    columns, expected = PARTS[parts]
    if answers == "labelled" and parts == "input alone":
        pytest.skip("input, completion and label are no layout of TRL's")
    if answers == "voted" and parts == "a null prompt and a question":
        pytest.skip("a log of one's own has one column for its prompts")
    result = read(tmp_path, columns | ANSWERS[answers])
    assert prompts(result) == [expected] * (2 if answers == "pair" else 1)
    read_names = set(result.notes["remarks"].get(UNREAD, {}))
    assert read_names == ({"question"} if parts == "a prompt before a question" else set())


def test_answers_under_different_system_texts_are_answers_to_different_prompts(tmp_path: Path) -> None:
    voted = {"question": ASKED, "answer": "Hot.", "feedback": "up"}
    result = read(tmp_path, voted | {"system": "Be brief."}, voted | {"system": "Be long.", "feedback": "down"})
    assert result.events["prompt_id"].n_unique() == 2


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize(
    ("option", "column", "expected"),
    [
        ("prompt", {"asked": ASKED, "prompt": "p"}, [USER]),
        ("system", {"persona": "Be brief.", "prompt": ASKED}, [SYSTEM, USER]),
        ("input", {"passage": "tea", "prompt": "Translate."}, [("user", "Translate.\ntea")]),
        ("history", {"before": [["Hi", "Hello."]], "prompt": ASKED}, [("user", "Hi"), ("assistant", "Hello."), USER]),
    ],
)
def test_each_part_has_an_option_that_states_its_column(
    tmp_path: Path, option: str, column: dict[str, Any], expected: list[tuple[str, str]], answers: str
) -> None:
    (name, *_) = column
    row = column | ANSWERS[answers]
    assert set(map(tuple, prompts(read(tmp_path, row, **{option: name})))) == {tuple(expected)}
    assert set(map(tuple, prompts(read(tmp_path, row)))) != {tuple(expected)}


@pytest.mark.parametrize(
    "row",
    [
        {"topic": "tea"},
        {"prompt": None},
        {"prompt": None, "topic": "tea"},
        {"system": "Be brief."},
        {"notes": [{"by": "me"}]},
        {"id": "17"},
    ],
)
def test_two_texts_beside_any_other_text_give_no_prompt(tmp_path: Path, row: dict[str, Any]) -> None:
    result = read(tmp_path, row | SIDES)
    assert result.events.is_empty()
    (reject,) = result.rejects.to_dicts()
    assert reject["reason"] == "no_prompt"
    assert "events.options, such as prompt: NAME" in reject["detail"]
    assert all(name in reject["detail"] for name, value in row.items() if value and name != "system")


def test_two_texts_alone_begin_with_their_prompt_and_that_is_said(tmp_path: Path) -> None:
    result = read(tmp_path, SIDES, SIDES | {"score": 3, "note": None, "tag": ""})
    assert prompts(result) == [[("user", "Tea is made with")]] * 2
    assert result.notes["remarks"] == {IMPLICIT: {"chosen, rejected": 2}}


def test_a_common_beginning_can_be_stated_to_be_the_prompt(tmp_path: Path) -> None:
    result = read(tmp_path, SIDES | {"topic": "tea", "question": "x"}, implicit="true")
    assert prompts(result) == [[("user", "Tea is made with")]] * 2
    assert result.notes["remarks"][UNREAD] == {"topic": 1, "question": 1}
    with pytest.raises(ConfigError, match="option implicit is 'yes', not true or false"):
        read(tmp_path, SIDES, implicit="yes")


CHATS = {
    "chosen": [turn("user", ASKED), turn("assistant", "Hot.")],
    "rejected": [turn("user", ASKED), turn("assistant", "Cold.")],
}


def test_conversations_that_begin_alike_need_no_other_prompt(tmp_path: Path) -> None:
    assert prompts(read(tmp_path, CHATS | {"question": "x", "prompt": None})) == [[USER]] * 2
    assert prompts(read(tmp_path, CHATS | {"system": "Be brief."})) == [[SYSTEM, USER]] * 2


def test_answers_that_begin_with_a_system_text_only_are_no_conversations_with_a_prompt(tmp_path: Path) -> None:
    sides = {side: [turn(*SYSTEM), turn("assistant", side)] for side in ("chosen", "rejected")}
    result = read(tmp_path, sides)
    assert result.rejects["reason"].to_list() == ["empty_prompt"]


def test_sides_may_repeat_the_conversation_without_the_system_text_of_another_column(tmp_path: Path) -> None:
    assert prompts(read(tmp_path, CHATS | {"prompt": ASKED, "system": "Be brief."})) == [[SYSTEM, USER]] * 2


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_conversation_that_goes_on_to_the_answer_is_cut_before_it(tmp_path: Path, answers: str) -> None:
    text = next(value for value in ANSWERS[answers].values() if isinstance(value, str))
    chat = [turn("user", ASKED), turn("assistant", f" {text}")]
    assert prompts(read(tmp_path, {"messages": chat} | ANSWERS[answers]))[0] == [USER]
    other = read(tmp_path, {"messages": [chat[0], turn("assistant", "Something else.")]} | ANSWERS[answers])
    assert other.rejects["reason"].to_list() == ["not_a_prompt"]


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"system": "Be long.", "prompt": [turn(*SYSTEM), turn(*USER)]}, "several_systems"),
        ({"system": ["x"], "prompt": ASKED}, "wrong_type"),
        ({"history": [["Hi"]], "prompt": ASKED}, "wrong_type"),
        ({"history": "Hi", "prompt": ASKED}, "wrong_type"),
        ({"history": [[1, 2]], "prompt": ASKED}, "wrong_type"),
        ({"prompt": " "}, "empty_prompt"),
        ({"instruction": " ", "input": " "}, "empty_prompt"),
    ],
)
def test_a_part_that_cannot_be_read_rejects_the_row(
    tmp_path: Path, row: dict[str, Any], reason: str, answers: str
) -> None:
    assert read(tmp_path, row | ANSWERS[answers]).rejects["reason"].to_list() == [reason]


def test_a_stated_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "none of asked is there" in read(tmp_path, SIDES, prompt="asked").rejects["detail"][0]
    with pytest.raises(InputError, match="no column for system"):
        read(tmp_path, {"prompt": ASKED} | ANSWERS["voted"], system="persona")


def test_the_columns_of_answers_and_label_can_be_stated(tmp_path: Path) -> None:
    pair = {"prompt": ASKED, "good": "Hot.", "bad": "Cold."}
    assert sorted(read(tmp_path, pair, chosen="good", rejected="bad").events["completion"]) == ["Cold.", "Hot."]
    single = {"prompt": ASKED, "reply": "Hot.", "kind": True}
    assert read(tmp_path, single, completion="reply", label="kind").events["vote"].to_list() == ["up"]


@pytest.mark.parametrize(
    ("labels", "votes"),
    [
        ([1, 0], ["up", "down"]),
        ([1.0, 0], ["up", "down"]),
        (["1", "0"], ["up", "down"]),
        ([True, 0], ["up", "down"]),
        (["True", "FALSE"], ["up", "down"]),
    ],
)
def test_labels_of_truth(tmp_path: Path, labels: list[object], votes: list[str]) -> None:
    rows = [{"prompt": ASKED, "completion": str(place), "label": label} for place, label in enumerate(labels)]
    assert read(tmp_path, *rows).events.sort("completion")["vote"].to_list() == votes


def test_one_and_zero_among_other_numbers_are_no_truths_until_they_are_stated(tmp_path: Path) -> None:
    rows = [{"prompt": ASKED, "completion": str(label), "label": label} for label in (0, 1, 5)]
    result = read(tmp_path, *rows)
    assert result.rejects["reason"].to_list() == ["unknown_label"] * 3
    assert 'events.options: up: "0" or down: "0"' in result.rejects["detail"][0]
    stated = read(tmp_path, *rows, up="5", down="0, 1")
    assert stated.events.sort("completion")["vote"].to_list() == ["down", "down", "up"]


def test_a_table_of_text_cells_is_read_like_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    row = {"system": "Be brief.", "instruction": "Translate.", "input": "tea", "history": '[["Hi", "Hello."]]'} | SIDES
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    found = prompts(ingest(EventsConfig(inputs=(str(path),))))
    assert found[0] == [SYSTEM, ("user", "Hi"), ("assistant", "Hello."), ("user", "Translate.\ntea")]
