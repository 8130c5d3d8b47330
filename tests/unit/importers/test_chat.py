"""Messages in every shape that tools write them, and JSON inside strings, which passes the guards of a line."""

from typing import Any

import pytest

from thumbline.pipeline.importers.shared.chat import answer, parsed, prompt_messages
from thumbline.pipeline.importers.shared.messages import Answer
from thumbline.pipeline.reading.records import RowError


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 3}}}
CALLS = '{"tool_calls":[{"type":"function","function":{"name":"add","arguments":{"a":3}}}]}'
NAMED_CALLS = '{"tool_calls":[{"type":"function","id":"c1","function":{"name":"add","arguments":"{\\"a\\": 3}"}}]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Hi", [user("Hi")]),
        ('{"a": 1}', [user('{"a": 1}')]),
        ('[{"role": "user", "content": "Hi"}]', [user("Hi")]),
        ({"messages": [user("Hi"), assistant("Ho"), user("He")]}, [user("Hi"), assistant("Ho"), user("He")]),
        ([[{"type": "human", "content": "Hi"}]], [user("Hi")]),
        ([{"type": "human", "data": {"content": "Hi"}}], [user("Hi")]),
        (user("Hi"), [user("Hi")]),
        (
            {"system": [{"type": "text", "text": "S"}], "messages": [user("Hi")]},
            [{"role": "system", "content": "S"}, user("Hi")],
        ),
        ({"only": "Hi", "number": 3}, [user("Hi")]),
        ({"input": {"question": "Hi"}}, [user("Hi")]),
        (
            [
                user("Hi"),
                {"role": "assistant", "content": None, "tool_calls": [{"name": "add", "args": {"a": 3}}]},
                {"role": "tool", "content": "7"},
            ],
            [user("Hi"), assistant("") | {"extra": CALLS}, {"role": "tool", "content": "7"}],
        ),
        (
            [
                user("Hi"),
                {"type": "function_call", "name": "add", "arguments": '{"a": 3}', "call_id": "c1"},
                {"type": "function_call_output", "call_id": "c1", "output": "7"},
            ],
            [
                user("Hi"),
                assistant("") | {"extra": NAMED_CALLS},
                {"role": "tool", "content": "7", "extra": '{"tool_call_id":"c1"}'},
            ],
        ),
    ],
)
def test_prompts(value: Any, expected: list[dict[str, str]]) -> None:
    assert prompt_messages(value, "input") == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "wrong_type"),
        ([7], "wrong_type"),
        ([{"role": "user", "content": 7}], "wrong_type"),
        ([{"role": "narrator", "content": "x"}], "unknown_role"),
        ([{"role": ["user"], "content": "x"}], "unknown_role"),
        ([{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "See?"}]}], "not_text"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "no_text"),
        ([user("Hi"), {"role": "assistant", "content": None, "tool_calls": [{}]}], "bad_tool_call"),
        ({"a": "x", "b": "y"}, "unknown_shape"),
        ({"a": 1}, "unknown_shape"),
        ([], "empty_prompt"),
        (" ", "empty_prompt"),
        ([assistant("")], "empty_prompt"),
    ],
)
def test_prompts_that_are_none(value: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        prompt_messages(value, "input")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ho", "Ho"),
        ({"choices": [{"message": assistant("Ho")}]}, "Ho"),
        ({"choices": [{"text": "Ho"}]}, "Ho"),
        ({"messages": [user("Hi"), assistant("Ho")]}, "Ho"),
        ({"generations": [[{"text": "Ho"}]]}, "Ho"),
        ({"output": {"content": "Ho"}}, "Ho"),
        ([assistant("Ho")], "Ho"),
        ([{"type": "reasoning"}, assistant("Ho")], "Ho"),
        ({"role": "assistant", "content": "Ho", "tool_calls": None}, "Ho"),
        ({"type": "ai", "content": "Ho"}, "Ho"),
    ],
)
def test_answers(value: Any, expected: str) -> None:
    assert answer(value, "output") == Answer(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"choices": [{"message": {"content": None, "role": "assistant", "tool_calls": [CALL]}}]}, Answer("", CALLS)),
        ({"content": None, "tool_calls": [CALL]}, Answer("", CALLS)),
        (
            [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]},
                {"type": "function_call", "name": "add", "arguments": '{"a": 3}', "call_id": "c1"},
            ],
            Answer("Ho", '{"reasoning_content":"Hm.",' + NAMED_CALLS[1:]),
        ),
        ([{"type": "tool_use", "name": "add", "input": {"a": 3}}], Answer("", CALLS)),
        (
            {
                "lc": 1,
                "id": ["langchain", "AIMessage"],
                "kwargs": {"content": "", "tool_calls": [], "additional_kwargs": {"tool_calls": [CALL]}},
            },
            Answer("", CALLS),
        ),
    ],
)
def test_answers_with_calls_and_thoughts(value: Any, expected: Answer) -> None:
    assert answer(value, "output") == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "wrong_type"),
        (7, "wrong_type"),
        ("", "empty_completion"),
        ([user("Hi")], "unknown_role"),
        ([assistant("Ho"), user("Hi")], "unknown_role"),
        (["a", "b"], "several_messages"),
        ({"choices": [{"text": "a"}, {"text": "b"}]}, "several_messages"),
        ({"a": 1}, "unknown_shape"),
    ],
)
def test_answers_that_are_none(value: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        answer(value, "output")
    assert caught.value.reason == reason


def test_a_path_leads_through_objects_lists_and_json() -> None:
    value = {"state": '{"turns": [{"said": "Hi"}, {"said": "Ho"}]}'}
    assert answer(value, "output", ("state", "turns", "-1", "said")) == Answer("Ho")
    with pytest.raises(RowError, match="field 'output' has no '2'"):
        answer(value, "output", ("state", "turns", "2"))


@pytest.mark.parametrize(
    "text",
    ['{"a": "\\u0000"}', '{"a": 1, "a": 2}', '{"a": ' + "[" * 80 + "]" * 80 + "}", "[1", "{}, {}", '{"a": "\\ud800"}'],
)
def test_json_that_no_line_could_hold_stays_a_text(text: str) -> None:
    assert parsed(text) == text


def test_what_only_looks_like_a_member_stays_a_text() -> None:
    assert parsed('1, "more": 2', begins=()) == '1, "more": 2'
    assert parsed('"quoted"', begins=()) == "quoted"
    assert parsed('"quoted"') == '"quoted"'
