"""Messages that carry more than text, as `datasets` gives them back from the files."""

import json
from functools import partial

import polars as pl
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from thumbline.pipeline.dataset.messages import carries_more, json_messages, plain_messages, typed_messages
from thumbline.pipeline.dataset.rows import EMPTY_ANSWER, EMPTY_PROMPT, with_reasons
from thumbline.pipeline.storage.parquet import ParquetWriter

MESSAGE = pl.List(pl.Struct({"role": pl.String, "content": pl.String, "extra": pl.String}))
CALLED = {
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "frost", "arguments": {"z": 1, "a": "é"}}}]
}


def message(role, content, extra=None):
    return {"role": role, "content": content, "extra": None if extra is None else json.dumps(extra, ensure_ascii=False)}


def pairs(*rows):
    columns = {"prompt": MESSAGE, "chosen": MESSAGE, "rejected": MESSAGE}
    return pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows], schema=columns)


ROW = (
    [
        message("user", "Will it freeze?"),
        message("assistant", "", CALLED),
        message("tool", "no", {"tool_call_id": "c1"}),
    ],
    [message("assistant", "No.", {"reasoning_content": "The tool says no."})],
    [message("assistant", "Yes.")],
)


def write_messages(path, rows, row_group_rows=50_000):
    writer = ParquetWriter(path, row_group_rows, partial(typed_messages, kind="pairs"))
    writer.write(json_messages(rows, "pairs"))
    writer.close(json_messages(rows, "pairs").schema)


def loaded(rows, folder):
    write_messages(folder / "rows.parquet", rows)
    return load_dataset("parquet", data_files=str(folder / "rows.parquet"), split="train", cache_dir=str(folder))[0]


def test_each_message_comes_back_with_the_keys_that_it_carries_and_no_others(tmp_path):
    row = loaded(pairs(ROW), tmp_path)
    assert row["prompt"] == [
        {"role": "user", "content": "Will it freeze?"},
        {"role": "assistant", "content": "", **CALLED},
        {"role": "tool", "content": "no", "tool_call_id": "c1"},
    ]
    assert list(row["prompt"][1]["tool_calls"][0]["function"]["arguments"]) == ["z", "a"]
    assert row["chosen"] == [{"role": "assistant", "content": "No.", "reasoning_content": "The tool says no."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Yes."}]


@pytest.mark.parametrize(
    ("logged", "given"),
    [('{"z": 1, "a": 2}', {"z": 1, "a": 2}), ('{"z": ', '{"z": '), ("[1]", "[1]"), ({"z": 1}, {"z": 1}), (None, None)],
)
def test_arguments_that_were_logged_as_the_text_of_an_object_are_objects(tmp_path, logged, given):
    calls = {"tool_calls": [{"function": {"name": "frost", "arguments": logged}}]}
    row = loaded(pairs((ROW[0], [message("assistant", "", calls)], ROW[2])), tmp_path)
    assert row["chosen"][0]["tool_calls"][0]["function"]["arguments"] == given


def test_rows_come_back_whole_from_several_row_groups(tmp_path):
    rows = pl.concat([pairs((ROW[0][: 1 + number % 3], ROW[1], ROW[2])) for number in range(5)])
    write_messages(tmp_path / "rows.parquet", rows, 2)
    assert pq.ParquetFile(tmp_path / "rows.parquet").num_row_groups == 3
    found = load_dataset("parquet", data_files=str(tmp_path / "rows.parquet"), split="train", cache_dir=str(tmp_path))
    assert [len(row["prompt"]) for row in found] == [1, 2, 3, 1, 2]
    assert found[4]["prompt"][1]["tool_calls"] == CALLED["tool_calls"]


def test_messages_of_text_alone_stay_structs_of_role_and_content():
    rows = pairs(([message("user", "When?")], [message("assistant", "Now.")], [message("assistant", "No.")]))
    assert not carries_more(rows, "pairs") and carries_more(pairs(ROW), "pairs")
    plain = plain_messages(rows, "pairs")
    assert plain["prompt"].to_list() == [[{"role": "user", "content": "When?"}]]


@pytest.mark.parametrize(
    ("prompt", "chosen", "why"),
    [
        ([], ROW[1], EMPTY_PROMPT),
        ([message("user", " \n\u3000")], ROW[1], EMPTY_PROMPT),
        ([message("user", "")], [message("assistant", "")], EMPTY_PROMPT),
        (ROW[0], [message("assistant", " ")], EMPTY_ANSWER),
        (ROW[0], [], EMPTY_ANSWER),
        (ROW[0], [message("assistant", "", CALLED)], None),
        ([message("system", ""), message("user", "When?")], ROW[1], None),
    ],
)
def test_a_row_is_left_out_where_its_prompt_or_an_answer_says_nothing(prompt, chosen, why):
    assert with_reasons(pairs((prompt, chosen, ROW[2])), "pairs")["left_out"].to_list() == [why]
