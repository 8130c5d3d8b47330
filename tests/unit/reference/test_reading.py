"""A user's rows before they are scored: pairs or labelled answers, whatever layout holds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.reference.reading import UserRows, user_rows

PAIR = {"question": "How is tea made?", "chosen": "Hot.", "rejected": "Cold."}
CHAT = [{"role": "user", "content": "How is tea made?"}, {"role": "assistant", "content": "Hot."}]


def read(folder: Path, *rows: dict[str, Any], **config: Any) -> UserRows:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return user_rows(EventsConfig.model_validate({"inputs": [str(path)], **config}))


def test_pairs_of_any_layout_keep_the_order_of_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, PAIR, PAIR | {"question": "And coffee?"}, PAIR)
    assert found.kinds == ["pairs"]
    assert found.events["source_line"].to_list() == [1, 1, 2, 2, 3, 3]
    assert found.rejected == {}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT, "label": True},
        {"prompt": "How is tea made?", "completion": "Hot.", "label": 1},
        {"prompt": "How is tea made?", "response": "Hot.", "feedback": "up"},
    ],
)
def test_labelled_answers(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read(tmp_path, row)
    assert found.kinds == ["unpaired"]
    assert found.events["vote"].to_list() == ["up"]


def test_rows_without_a_verdict_are_left_out_by_their_vote(tmp_path: Path) -> None:
    tied = PAIR | {"score_chosen": 1, "score_rejected": 1}
    assert read(tmp_path, PAIR, tied, PAIR | {"rejected": " "}).rejected == {"empty_completion": 1, "tied": 1}
    log = {"prompt": "p", "response": "r", "feedback": "up"}
    found = read(tmp_path, log, log | {"feedback": None, "response": "s"})
    assert (found.events["completion"].to_list(), found.rejected) == (["r"], {"unrated": 1})


def test_a_row_of_several_events_is_left_out(tmp_path: Path) -> None:
    log = {"prompt": "p", "response": "r", "feedback": "up"}
    found = read(tmp_path, log, log | {"response": "s", "copied": True})
    assert found.rejected == {"several_events": 1}


def test_columns_are_stated_as_for_a_log_and_unread_ones_are_said(tmp_path: Path) -> None:
    row = {"asked": "How is tea made?", "persona": "Be brief.", "chosen": "Hot.", "rejected": "Cold."}
    found = read(tmp_path, row, options={"prompt": "asked"})
    assert [message["content"] for message in found.events["prompt"][0]] == ["How is tea made?"]
    assert found.said == ("columns of text that were not read: persona (1 row)",)
    both = read(tmp_path, row, options={"prompt": "asked", "system": "persona"})
    assert [message["role"] for message in both.events["prompt"][0]] == ["system", "user"]


def test_both_kinds_in_one_file_are_both_named(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "completion": "a", "label": True}]
    assert read(tmp_path, *rows).kinds == ["pairs", "unpaired"]
