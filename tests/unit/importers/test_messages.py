"""Messages as chat APIs, trainers and tools write them: what is read of each, and what is refused."""

import json
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.logs import read, reasons, write_lines
from thumbline.pipeline.importers.shared.calls import offered_tools
from thumbline.pipeline.importers.shared.messages import Answer, answer, messages
from thumbline.pipeline.reading.records import RowError
from thumbline.pipeline.reading.remarks import MESSAGE_KEY, Remark, remarking

ARGUMENTS = '{"town": "Bergen"}'
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": ARGUMENTS}}
OBJECT_CALL = {"type": "function", "id": "c1", "function": {"name": "look", "arguments": {"town": "Bergen"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
PICTURES = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "image"},
    {"type": "input_audio", "input_audio": {"data": "AAAA"}},
    {"type": "file", "file": {"file_id": "f1"}},
    {"type": ["text"], "text": "x"},
    {"image": "x"},
    7,
    None,
]


def said(role: str, content: str, **extra: Any) -> dict[str, str]:
    message = {"role": role, "content": content}
    return message | {"extra": json.dumps(extra, separators=(",", ":"))} if extra else message


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"role": "user", "content": "Hi"}, [said("user", "Hi")]),
        ({"from": "human", "value": "Hi"}, [said("user", "Hi")]),
        ({"from": "gpt", "value": "Ho"}, [said("assistant", "Ho")]),
        ({"from": "system", "value": "Be"}, [said("system", "Be")]),
        ({"from": "observation", "value": "9 C"}, [said("tool", "9 C")]),
        (
            {"from": "function_call", "value": json.dumps({"name": "look", "arguments": {"town": "Bergen"}})},
            [
                said(
                    "assistant",
                    "",
                    tool_calls=[{"type": "function", "function": {"name": "look", "arguments": {"town": "Bergen"}}}],
                )
            ],
        ),
        ({"role": "assistant", "content": None}, [said("assistant", "")]),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, [said("assistant", "", tool_calls=[CALL])]),
        (
            {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]},
            [said("assistant", "Wait.", tool_calls=[CALL])],
        ),
        ({"role": "assistant", "tool_calls": [CALL]}, [said("assistant", "", tool_calls=[CALL])]),
        ({"role": "assistant", "content": "Ho", "tool_calls": []}, [said("assistant", "Ho")]),
        (
            {"role": "assistant", "content": "Ho", "tool_calls": json.dumps([CALL])},
            [said("assistant", "Ho", tool_calls=[CALL])],
        ),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": ARGUMENTS}},
            [
                said(
                    "assistant",
                    "",
                    tool_calls=[{"type": "function", "function": {"name": "look", "arguments": ARGUMENTS}}],
                )
            ],
        ),
        (
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"name": "look", "args": {"town": "Bergen"}, "id": "c1"}],
            },
            [said("assistant", "", tool_calls=[OBJECT_CALL])],
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "9 C"},
            [said("tool", "9 C", name="look", tool_call_id="c1")],
        ),
        ({"role": "user", "name": "ann", "content": "Hi"}, [said("user", "Hi", name="ann")]),
        ({"role": "user", "name": None, "content": "Hi", "tool_calls": None}, [said("user", "Hi")]),
        (
            {"role": "assistant", "content": "Ho", "reasoning_content": "Hm."},
            [said("assistant", "Ho", reasoning_content="Hm.")],
        ),
        ({"role": "assistant", "content": "Ho", "thinking": "Hm."}, [said("assistant", "Ho", thinking="Hm.")]),
        (
            {"role": "assistant", "content": "Ho", "reasoning": "Hm.", "reasoning_content": "Hm."},
            [said("assistant", "Ho", reasoning_content="Hm.")],
        ),
        ({"role": "assistant", "content": None, "refusal": "I will not."}, [said("assistant", "I will not.")]),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, "c"]},
            [said("user", "a\nb\nc")],
        ),
        ({"role": "user", "content": [{"type": "text", "text": "a", "image": None}]}, [said("user", "a")]),
        ({"role": "user", "content": {"content_type": "text", "parts": ["a"]}}, [said("user", "a")]),
        ({"role": "model", "parts": [{"text": "a"}]}, [said("assistant", "a")]),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Ho"}]},
            [said("assistant", "Ho", thinking="Hm.")],
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Wait."},
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {"town": "Bergen"}},
                ],
            },
            [said("assistant", "Wait.", tool_calls=[OBJECT_CALL])],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "9 C"}]},
                    {"type": "text", "text": "Well?"},
                ],
            },
            [said("tool", "9 C", tool_call_id="c1"), said("user", "Well?")],
        ),
        (
            {"role": "tool", "content": [{"type": "tool_call_response", "id": "c1", "response": {"town": "Bergen"}}]},
            [said("tool", '{"town":"Bergen"}', tool_call_id="c1")],
        ),
        ({"role": "assistant", "content": "Ho", "extra": '{"name":"x"}'}, [said("assistant", "Ho", name="x")]),
        (json.dumps({"role": "user", "content": "Hi"}), [said("user", "Hi")]),
    ],
)  # fmt: skip
def test_one_message_however_it_is_written(entry: Any, expected: list[dict[str, str]]) -> None:
    asked = said("user", "?")
    assert messages([asked, entry], "prompt", empty="none") == [asked, *expected]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "wrong_type"),
        ("Hi", "wrong_type"),
        ({"role": "narrator", "content": "x"}, "unknown_role"),
        ({"content": "x"}, "unknown_role"),
        ({"role": "user"}, "wrong_type"),
        ({"role": "user", "text": "Hi"}, "wrong_type"),
        ({"role": "user", "content": 7}, "wrong_type"),
        ({"role": "assistant", "content": "", "tool_calls": "call it"}, "bad_tool_call"),
        ({"role": "assistant", "content": "", "tool_calls": ["look"]}, "bad_tool_call"),
        ({"from": "function_call", "value": "look at Bergen"}, "bad_tool_call"),
        ({"role": "assistant", "content": [{"type": "tool_use", "input": {}}]}, "bad_tool_call"),
        *(({"role": "user", "content": [{"type": "text", "text": "See"}, part]}, "not_text") for part in PICTURES),
    ],
)
def test_a_message_that_cannot_be_read_is_refused(entry: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        messages([said("user", "?"), entry], "prompt", empty="none")
    assert caught.value.reason == reason


TURNS = [said("system", "Be 'brief'."), said("user", 'Name a\n"river".')]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TURNS),
        json.dumps(TURNS, indent=2),
        str(TURNS),
        f" {TURNS}\n",
        str(TURNS).replace("}, {", "}\n {"),
        str([{"from": "system", "value": "Be 'brief'."}, {"from": "human", "value": 'Name a\n"river".'}]),
    ],
)
def test_a_text_that_is_wholly_a_list_of_messages_is_that_list(text: str) -> None:
    assert messages(text, "prompt", empty="none") == TURNS


@pytest.mark.parametrize(
    "text",
    [
        "Hi",
        "[1, 2]",
        '{"a": 1}',
        '[{"role": "admin", "content": "x"}]',
        '[{"role": "user"}]',
        '[{"role": "user", "content": "x"}] is how it looks.',
        "{'role': 'user', content: 'x'}",
        '[{"role": "user", "content": "x"}, 7]',
    ],
)
def test_a_text_that_only_looks_like_messages_is_what_somebody_wrote(text: str) -> None:
    assert messages(text, "prompt", empty="none") == [said("user", text)]
    assert answer(text, "answer") == Answer(text)


@pytest.mark.parametrize("text", [json.dumps(TURNS)[:-9], str(TURNS)[:-9], json.dumps(TURNS)[:-1]])
def test_a_list_of_messages_whose_end_is_missing_is_refused(text: str) -> None:
    with pytest.raises(RowError, match="field 'prompt' is a list of messages as text, and its end is missing"):
        messages(text, "prompt", empty="none")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ho", Answer("Ho")),
        ([said("assistant", "Ho")], Answer("Ho")),
        ({"from": "gpt", "value": "Ho"}, Answer("Ho")),
        (json.dumps([said("assistant", "Ho")]), Answer("Ho")),
        (str([said("assistant", "Ho")]), Answer("Ho")),
        ([json.dumps(said("assistant", "Ho"))], Answer("Ho")),
        ([{"role": "assistant", "tool_calls": [CALL]}], Answer("", said("", "", tool_calls=[CALL])["extra"])),
    ],
)  # fmt: skip
def test_an_answer(value: Any, expected: Answer) -> None:
    assert answer(value, "answer") == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "wrong_type"),
        (" ", "empty_completion"),
        ([], "empty_completion"),
        ([said("user", "Hi")], "unknown_role"),
        ([said("assistant", "a"), said("assistant", "b")], "several_messages"),
        ([{"role": "assistant", "content": "", "name": "bot"}], "empty_completion"),
    ],
)
def test_what_is_no_answer(value: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        answer(value, "answer")
    assert caught.value.reason == reason


@pytest.mark.parametrize("value", [[TOOL], json.dumps([TOOL]), str([TOOL]), [json.dumps(TOOL)]])
def test_tools_in_the_order_of_their_keys(value: Any) -> None:
    assert offered_tools(value, "tools") == json.dumps([TOOL], separators=(",", ":"))


@pytest.mark.parametrize("value", [None, [], "", " ", "[]", "null"])
def test_no_tools(value: Any) -> None:
    assert offered_tools(value, "tools") is None


@pytest.mark.parametrize("value", ["look", ["look"], 7, {"a": 1}, '{"a": 1}', [float("nan")]])
def test_what_is_no_list_of_tools_is_refused(value: Any) -> None:
    with pytest.raises(RowError, match="field 'tools'"):
        offered_tools(value, "tools")


def test_what_a_message_holds_under_other_keys_is_counted_by_key() -> None:
    entry = {
        "role": "user", "content": "Hi", "id": "m1", "created_at": "2026-01-01", "parentId": "m0", "score": 3,
        "tags": [], "translation": "Hallo", "sources": [{"url": "x"}],
    }  # fmt: skip
    with remarking() as seen:
        messages([entry], "prompt", empty="none")
    assert seen == [Remark(MESSAGE_KEY, "translation"), Remark(MESSAGE_KEY, "sources")]


def test_keys_of_messages_that_were_not_read_are_in_the_notes(tmp_path: Any) -> None:
    turn = {"role": "user", "content": "Hi", "translation": "Hallo"}
    rows = [{"prompt": [turn], "completion": [said("assistant", text)], "label": True} for text in ("A", "B")]
    result = read(write_lines(tmp_path / "log.jsonl", *rows))
    assert result.notes["remarks"][MESSAGE_KEY] == {"translation": 2}


PROMPT = [said("user", "Is it raining?")]
WITH_TOOLS = {"tools": [TOOL], "prompt": PROMPT}
LAYOUTS = {
    "calls": ([{"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}], [said("assistant", "Wait.")]),
    "only calls": (
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": "assistant", "content": None, "tool_calls": [OBJECT_CALL]}],
    ),
    "thoughts": (
        [{"role": "assistant", "content": "No.", "reasoning_content": "Dry."}],
        [{"role": "assistant", "content": "No.", "reasoning_content": "Wet."}],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_that_differ_only_in_calls_or_thoughts_are_two_sides_of_a_pair(tmp_path: Any, layout: str) -> None:
    chosen, rejected = LAYOUTS[layout]
    result = read(write_lines(tmp_path / "log.jsonl", WITH_TOOLS | {"chosen": chosen, "rejected": rejected}))
    assert reasons(result) == []
    assert result.events["tools"].to_list() == [json.dumps([TOOL], separators=(",", ":"))] * 2
    assert result.events["response_id"].n_unique() == 2
    extras = {event["vote"]: event["completion_extra"] for event in result.events.to_dicts()}
    assert json.loads(extras["chosen"] or "{}") == {k: v for k, v in chosen[0].items() if k not in ("role", "content")}


def test_keys_that_a_parquet_file_makes_up_are_in_no_call(tmp_path: Any) -> None:
    named = {"name": "look", "arguments": {"town": "Bergen"}}
    other = {"name": "add", "arguments": {"a": 3}}
    rows = [
        {"prompt": PROMPT, "completion": [{"role": "assistant", "content": "", "tool_calls": [{"function": call}]}]}
        | {"label": True, "tools": [{"type": "function", "function": {"name": call["name"]}}]}
        for call in (named, other)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "log.parquet")
    result = read(tmp_path / "log.parquet")
    assert {
        json.loads(extra)["tool_calls"][0]["function"]["name"]: extra for extra in result.events["completion_extra"]
    } == {call["name"]: said("", "", tool_calls=[{"function": call}])["extra"] for call in (named, other)}


def test_a_picture_in_a_log_of_ones_own_rejects_its_row_alone(tmp_path: Any) -> None:
    seen = [{"role": "user", "content": [{"type": "text", "text": "See"}, PICTURES[0]]}]
    rows = [{"prompt": prompt, "response": "Ho", "feedback": "up"} for prompt in (seen, "Hi")]
    result = read(write_lines(tmp_path / "log.jsonl", *rows))
    assert reasons(result) == ["not_text"]
    assert result.events.height == 1


def test_a_log_of_ones_own_has_a_column_of_tools(tmp_path: Any) -> None:
    rows = [
        {"prompt": "Hi", "response": "Ho", "feedback": "up", "tools": tools} for tools in (json.dumps([TOOL]), None)
    ]
    result = read(write_lines(tmp_path / "log.jsonl", *rows))
    assert result.events["tools"].null_count() == 1
    assert result.events["prompt_id"].n_unique() == 2
