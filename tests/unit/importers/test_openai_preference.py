"""OpenAI's preference lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.fixtures_conversations import ASKED, BAD, GOOD, chat
from tests.unit.importers.fixtures_openai_preference import line, write
from tests.unit.importers.logs import comparisons, read, read_lines, reasons, system, user


def test_lines(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert comparisons(result) == [
        ("preference", f"chosen: {GOOD}", f"rejected: {BAD}"),
        ("preference", f"chosen: {GOOD}", "rejected: With ice."),
    ]
    assert reasons(result) == ["empty_completion"]
    assert result.events["prompt"].to_list()[0] == [system("Be brief."), user(ASKED)]


@pytest.mark.parametrize("asked", [chat(None), ASKED, json.dumps({"messages": chat(None)})])
def test_an_input_of_messages_or_text_alone(tmp_path: Path, asked: Any) -> None:
    result = read_lines(tmp_path, line() | {"input": asked})
    assert result.events["prompt"].to_list() == [[user(ASKED)]] * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": {"messages": chat()}}, "not_a_prompt"),
        ({"input": None}, "missing_field"),
        ({"input": {"messages": []}}, "empty_prompt"),
        ({"preferred_output": None}, "missing_field"),
        ({"preferred_output": []}, "empty_completion"),
        ({"non_preferred_output": chat(None, ("user", "Hi"))[:1]}, "unknown_role"),
        ({"non_preferred_output": [*chat()[1:], *chat()[1:]]}, "several_messages"),
    ],
)
def test_a_line_that_cannot_be_read_is_rejected(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reasons(read_lines(tmp_path, line(), line() | changes)) == [reason]


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_tools_and_calls_of_them_go_along(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Rome"}'}}
    asked = {"messages": chat(None), "tools": [TOOL], "parallel_tool_calls": True}
    row = line() | {"input": asked, "preferred_output": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    events = {event["vote"]: event for event in read_lines(tmp_path, row).events.to_dicts()}
    assert {json.dumps(json.loads(event["tools"])) for event in events.values()} == {json.dumps([TOOL])}
    assert events["chosen"]["completion"] == "" and events["rejected"]["completion_extra"] is None
    assert json.loads(events["chosen"]["completion_extra"])["tool_calls"][0]["function"] == call["function"]
