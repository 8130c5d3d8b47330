"""Message lists of tables in the layout of data sets: what goes along with a text under keys of its own."""

import json

import polars as pl

from thumbline.pipeline.storage.message_keys import with_message_keys
from thumbline.pipeline.tables import MESSAGES

ASKED = [{"role": "user", "content": "Rain?"}]
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"town": "Bergen"}}},
    {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a": 3}'}},
]


def table(*extras: dict | None, tools: str | None = None) -> pl.DataFrame:
    answers = [
        [{"role": "assistant", "content": "Wait.", "extra": None if extra is None else json.dumps(extra)}]
        for extra in extras
    ]
    return pl.DataFrame(
        {"prompt": [ASKED] * len(answers), "tools": [tools] * len(answers), "completion": answers, "label": True},
        schema={"prompt": MESSAGES, "tools": pl.String, "completion": MESSAGES, "label": pl.Boolean},
    )


def test_messages_without_extras_have_role_and_content_alone_and_no_column_of_tools() -> None:
    made = with_message_keys(table(None, None))
    assert made.columns == ["prompt", "completion", "label"]
    assert made["prompt"].to_list() == [ASKED] * 2
    assert made["completion"].to_list()[0] == [{"role": "assistant", "content": "Wait."}]


def test_extras_become_keys_and_arguments_are_json_text() -> None:
    made = with_message_keys(
        table({"tool_calls": [CALLS[0]]}, {"tool_calls": [CALLS[1]]}, {"thinking": "Hm."}, tools="[]")
    )
    assert made["tools"].to_list() == ["[]"] * 3
    first, second, third = (messages[0] for messages in made["completion"].to_list())
    called = [message["tool_calls"][0]["function"] for message in (first, second)]
    assert called == [{"name": "look", "arguments": '{"town":"Bergen"}'}, {"name": "add", "arguments": '{"a": 3}'}]
    assert (third["thinking"], third["tool_calls"], first["thinking"]) == ("Hm.", None, None)
    assert made["prompt"].dtype == made["completion"].dtype
