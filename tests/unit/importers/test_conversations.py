"""Conversations with a label or a worse answer, as other trainers keep them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_conversations import ASKED, BAD, GOOD, chat, write
from tests.unit.importers.logs import assistant, comparisons, read, read_lines, reasons, system, user, write_lines
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.importers.registry import detect_format


def test_labels_and_worse_answers(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert reasons(result) == ["not_an_answer"]
    votes = result.events.filter(result.events["comparison_id"].is_null()).sort("completion")
    assert votes.select("completion", "vote").rows() == [(BAD, "down"), (GOOD, "up")]
    assert comparisons(result) == [("preference", f"chosen: {GOOD}", f"rejected: {BAD}")]
    assert {str(prompt) for prompt in result.events["prompt"].to_list()} == {
        str([user(ASKED)]),
        str([system("Be brief."), user(ASKED)]),
    }


def sharegpt(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in turns]


LABELLED: dict[str, dict[str, Any]] = {
    "messages and label": {"messages": chat(), "label": True},
    "conversations and kto_tag": {"conversations": sharegpt(("human", ASKED), ("gpt", GOOD)), "kto_tag": True},
    "messages as JSON": {
        "messages": json.dumps(chat()),
        "label": 1,
    },
    "alpaca and kto_tag": {"instruction": ASKED, "input": "", "output": GOOD, "kto_tag": True},
    "query and response": {"query": ASKED, "response": GOOD, "label": True},
    "a conversation that goes on to the answer": {"messages": chat(), "response": GOOD, "label": True},
    "messages before a completion": {"messages": chat(None), "response": GOOD, "label": True},
}


@pytest.mark.parametrize("layout", LABELLED)
@pytest.mark.parametrize("good", [True, False])
def test_each_labelled_layout(tmp_path: Path, layout: str, good: bool) -> None:
    row = {
        name: type(value)(good) if name in ("label", "kto_tag") else value for name, value in LABELLED[layout].items()
    }
    result = read_lines(tmp_path, row)
    (event,) = result.events.to_dicts()
    assert (event["prompt"], event["completion"], event["vote"]) == ([user(ASKED)], GOOD, "up" if good else "down")
    assert event["format"] == "conversations"
    assert result.notes["remarks"] == {}


PAIRED: dict[str, dict[str, Any]] = {
    "rejected_response": {"messages": chat(), "rejected_response": BAD},
    "rejected_response as a message": {"messages": chat(), "rejected_response": {"role": "assistant", "content": BAD}},
    "rejected_messages": {"messages": chat(), "rejected_messages": chat(BAD)},
    "query, response and rejected_response": {"query": ASKED, "response": GOOD, "rejected_response": BAD},
    "a label that says no more": {"messages": chat(), "rejected_response": BAD, "label": True},
}


@pytest.mark.parametrize("layout", PAIRED)
def test_each_layout_of_pairs(tmp_path: Path, layout: str) -> None:
    result = read_lines(tmp_path, PAIRED[layout])
    assert comparisons(result) == [("preference", f"chosen: {GOOD}", f"rejected: {BAD}")]
    assert result.events["prompt"].to_list() == [[user(ASKED)]] * 2


TRL: dict[str, dict[str, Any]] = {
    "ShareGPT objects": {
        "conversations": sharegpt(("system", "Be brief."), ("human", ASKED)),
        "chosen": {"from": "gpt", "value": GOOD},
        "rejected": {"from": "gpt", "value": BAD},
    },
    "messages and lists of one": {
        "messages": chat(None, ("system", "Be brief.")),
        "chosen": [{"role": "assistant", "content": GOOD}],
        "rejected": [{"role": "assistant", "content": BAD}],
    },
    "objects of messages": {
        "system": "Be brief.",
        "chosen": {"messages": chat(GOOD)},
        "rejected": {"messages": chat(BAD)},
    },
    "chosen_messages": {
        "chosen_messages": chat(GOOD, ("system", "Be brief.")),
        "rejected_messages": chat(BAD, ("system", "Be brief.")),
    },
    "chosen_response": {"system": "Be brief.", "question": ASKED, "chosen_response": GOOD, "rejected_response": BAD},
    "content parts as LLaMA-Factory writes them": {
        side: [
            {"role": role, "content": [{"type": "text", "value": text}], "loss_weight": 0.0}
            for role, text in (("system", "Be brief."), ("user", ASKED), ("assistant", answer))
        ]
        for side, answer in (("chosen_messages", GOOD), ("rejected_messages", BAD))
    },
    "alpaca": {"instruction": "How is tea", "input": "made?", "system": "Be brief.", "chosen": GOOD, "rejected": BAD},
}


@pytest.mark.parametrize("layout", TRL)
def test_each_layout_of_chosen_and_rejected_is_read_as_trl(tmp_path: Path, layout: str) -> None:
    result = read_lines(tmp_path, TRL[layout])
    asked = "How is tea\nmade?" if layout == "alpaca" else ASKED
    assert result.events["prompt"].to_list() == [[system("Be brief."), user(asked)]] * 2
    assert dict(result.events.select("completion", "vote").rows()) == {GOOD: "chosen", BAD: "rejected"}
    assert result.events["format"].unique().to_list() == ["trl"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": chat(None), "label": True}, "not_an_answer"),
        ({"messages": chat()[1:], "label": True}, "empty_prompt"),
        ({"messages": chat(), "label": None}, "missing_field"),
        ({"messages": chat(), "label": "fine"}, "unknown_label"),
        ({"messages": chat(), "rejected_response": " "}, "empty_completion"),
        ({"messages": chat(), "rejected_messages": chat(BAD, ("user", "Hi"))}, "several_messages"),
        ({"messages": chat(), "response": "Something else.", "label": True}, "not_a_prompt"),
        ({"messages": None, "label": True}, "no_prompt"),
        ({"messages": chat(), "label": True, "images": ["tea.png"]}, "not_text"),
    ],
)
def test_a_row_that_cannot_be_read_for_sure_is_rejected(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    assert reasons(read_lines(tmp_path, {"messages": chat(), "label": True}, row)) == [reason]


def test_pictures_beside_the_texts_of_a_pair_are_refused(tmp_path: Path) -> None:
    row = {"prompt": ASKED, "chosen": GOOD, "rejected": BAD}
    assert reasons(read_lines(tmp_path, row | {"images": []}, row | {"images": ["tea.png"]})) == ["not_text"]


def test_columns_and_labels_can_be_stated(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", {"chat": chat(), "kind": "fine", "worse": None})
    with pytest.raises(InputError, match="no format fits"):
        detect_format(path)
    events = read(path, format="conversations", options={"prompt": "chat", "label": "kind", "up": "fine"}).events
    assert events.select("completion", "vote").rows() == [(GOOD, "up")]
    pair = read_lines(
        tmp_path,
        {"query": ASKED, "said": GOOD, "worse": BAD},
        format="conversations",
        options={"completion": "said", "rejected": "worse"},
    )
    assert sorted(pair.events["vote"]) == ["chosen", "rejected"]


@pytest.mark.parametrize("vote", ["feedback", "rating", "thumb"])
def test_a_product_log_with_a_label_of_its_own_stays_a_product_log(tmp_path: Path, vote: str) -> None:
    row = {"prompt": ASKED, "response": GOOD, "label": "tea", vote: "up"}
    assert read_lines(tmp_path, row).events["format"].to_list() == ["thumbs_jsonl"]


def test_a_stated_vote_makes_a_product_log_of_a_label(tmp_path: Path) -> None:
    row = {"prompt": ASKED, "response": GOOD, "label": "up"}
    assert read_lines(tmp_path, row, options={"vote": "label"}).events["format"].to_list() == ["thumbs_jsonl"]


def test_earlier_answers_stay_in_the_prompt(tmp_path: Path) -> None:
    before = (("user", "Hi"), ("assistant", "Hello."))
    (event,) = read_lines(tmp_path, {"messages": chat(GOOD, *before), "label": True}).events.to_dicts()
    assert event["prompt"] == [user("Hi"), assistant("Hello."), user(ASKED)]


@pytest.mark.parametrize("verdict", [{"label": True}, {"rejected_response": BAD}])
@pytest.mark.parametrize("written", [json.dumps, list])
def test_tools_of_a_column_go_along(tmp_path: Path, verdict: dict[str, Any], written: Any) -> None:
    tools = [{"type": "function", "function": {"name": "kettle", "parameters": {"type": "object"}}}]
    result = read_lines(tmp_path, {"messages": chat(), "tools": written(tools)} | verdict)
    assert [json.loads(offered) for offered in result.events["tools"].unique()] == [tools]
    assert result.notes["remarks"] == {}
