"""Thoughts and calls of tools inside an answer's text, as Open WebUI writes them."""

import html
import json

import pytest

from thumbline.pipeline.importers.open_webui_details import messages_of
from thumbline.pipeline.reading.records import RowError


def thought(text: str, *, escaped: bool = True) -> str:
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    body = html.escape(quoted) if escaped else quoted
    head = '<details type="reasoning" done="true" duration="2">\n<summary>Thought for 2 seconds</summary>\n'
    return f"{head}{body}\n</details>\n"


def called(name: str, arguments: object, result: object, *, in_body: bool = False) -> str:
    given = html.escape(json.dumps(json.dumps(arguments)))
    written = html.escape(json.dumps(result, ensure_ascii=False))
    attribute, body = ("", f"{written}\n") if in_body else (f' result="{written}"', "")
    head = f'<details type="tool_calls" done="true" id="call_{name}" name="{name}" arguments="{given}"{attribute}>'
    return f"{head}\n<summary>Tool Executed</summary>\n{body}</details>\n"


def test_a_text_alone_is_one_message_as_it_is() -> None:
    for text in ("Plain.", " It has\n\nlines \n", "<details><summary>More</summary>shown</details>", ""):
        assert messages_of(text) == [{"role": "assistant", "content": text}] or not text.strip()


@pytest.mark.parametrize("escaped", [True, False])
def test_thoughts_go_along_without_their_marks(escaped: bool) -> None:
    (message,) = messages_of(thought("First a.\nThen b & c?", escaped=escaped) + "It is b.")
    assert message == {"role": "assistant", "content": "It is b.", "reasoning_content": "First a.\nThen b & c?"}


@pytest.mark.parametrize("in_body", [False, True])
def test_a_call_is_a_message_its_result_another_and_the_text_the_last(in_body: bool) -> None:
    content = thought("Ask.") + called("weather", {"town": "Oslo"}, 'snow "heavy"', in_body=in_body) + "Snow."
    assert messages_of(content) == [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "Ask.",
            "tool_calls": [
                {
                    "id": "call_weather",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"town": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_weather", "content": 'snow "heavy"'},
        {"role": "assistant", "content": "Snow."},
    ]


def test_calls_in_a_row_are_one_message_and_later_ones_another() -> None:
    content = called("a", {}, "1") + called("b", {}, "2") + "Now c.\n" + called("c", {}, "3") + "Six."
    roles = [(message["role"], message["content"]) for message in messages_of(content)]
    assert roles == [
        *(("assistant", ""), ("tool", "1"), ("tool", "2")),
        *(("assistant", "Now c."), ("tool", "3")),
        ("assistant", "Six."),
    ]


def test_an_answer_that_ends_in_a_call_is_the_call() -> None:
    (message,) = messages_of("Let me look.\n" + called("a", {"n": 1}, "1"))
    assert message["content"] == "Let me look."
    assert message["tool_calls"][0]["function"] == {"name": "a", "arguments": '{"n": 1}'}


def test_code_that_the_tool_ran_is_refused() -> None:
    block = '<details type="code_interpreter" done="true" output="">\n<summary>Analyzed</summary>\nx\n</details>'
    with pytest.raises(RowError, match="ran code"):
        messages_of(block + "Done.")
