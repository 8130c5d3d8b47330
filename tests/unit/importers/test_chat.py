"""Messages in every shape that tools write them, and JSON inside strings, which passes the guards of a line."""

from typing import Any

import pytest

from thumbline.pipeline.importers.shared.chat import answer_text, parsed, prompt_messages
from thumbline.pipeline.reading.records import RowError


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


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
            [user("Hi"), {"role": "assistant", "content": None, "tool_calls": [{}]}, {"role": "tool", "content": "7"}],
            [user("Hi"), assistant(""), {"role": "tool", "content": "7"}],
        ),
        ([{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "See?"}]}], [user("See?")]),
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
        ([{"role": "user", "content": [{"type": "image_url"}]}], "no_text"),
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
        ({"type": "ai", "content": "Ho"}, "Ho"),
    ],
)
def test_answers(value: Any, expected: str) -> None:
    assert answer_text(value, "output") == expected


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
        answer_text(value, "output")
    assert caught.value.reason == reason


def test_a_path_leads_through_objects_lists_and_json() -> None:
    value = {"state": '{"turns": [{"said": "Hi"}, {"said": "Ho"}]}'}
    assert answer_text(value, "output", ("state", "turns", "-1", "said")) == "Ho"
    with pytest.raises(RowError, match="field 'output' has no '2'"):
        answer_text(value, "output", ("state", "turns", "2"))


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
