"""What Open WebUI writes into an answer's text beside the text: thoughts and calls of tools, as `<details>` of HTML.

An answer that called tools is several messages to a chat template: each call with what came before it, what the tools
gave, and at last the text that was voted on.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError

# What a text with any of it holds.
DETAILS: Final = '<details type="'
# The tool escapes signs of HTML in attributes, so that none holds a `>`.
_BLOCK: Final = re.compile(
    r'<details type="(reasoning|tool_calls|code_interpreter)"([^>]*)>(.*?)</details>\n?', re.DOTALL
)
_ATTRIBUTE: Final = re.compile(r'([a-z_]+)="([^"]*)"')
_SUMMARY: Final = re.compile(r"\s*<summary>.*?</summary>\n?", re.DOTALL)
_QUOTED: Final = re.compile(r"^> ?", re.MULTILINE)


class _Call(NamedTuple):
    call_id: str
    name: str
    arguments: str
    result: str | None


def messages_of(content: str) -> list[dict[str, Any]]:
    """The messages that an answer's text stands for, the last of them the answer: role, content, and what goes along.

    Raises:
        RowError: It ran code in the tool's interpreter, which no message of a chat template holds.
    """
    said: list[dict[str, Any]] = []
    text, thoughts, calls = "", list[str](), list[_Call]()
    for kind, value in _segments(content):
        if calls and kind != "call":
            said += [_assistant(text, thoughts, calls), *_results(calls)]
            text, thoughts, calls = "", [], []
        if kind == "call":
            calls.append(value)
        elif kind == "thought":
            thoughts.append(value)
        else:
            text += value
    return [*said, _assistant(text, thoughts, calls)]


def _segments(content: str) -> Iterator[tuple[str, Any]]:
    """Kind and value of each part in order: `text`, `thought` or `call`; white space between blocks is none."""
    end = 0
    for block in _BLOCK.finditer(content):
        if content[end : block.start()].strip():
            yield "text", content[end : block.start()]
        kind, attributes, body = block.groups()
        if kind == "code_interpreter":
            raise RowError("unsupported_content", "the answer ran code in the tool's interpreter")
        inner = html.unescape(_SUMMARY.sub("", body, count=1)).strip()
        if kind == "reasoning":
            yield "thought", _QUOTED.sub("", inner)
        else:
            yield "call", _call(dict(_ATTRIBUTE.findall(attributes)), inner)
        end = block.end()
    if content[end:].strip():
        yield "text", content[end:]


def _call(attributes: dict[str, str], body: str) -> _Call:
    given = {name: html.unescape(value) for name, value in attributes.items()}
    # What a tool gave stands in an attribute or, as newer versions write it, in the block.
    result = _plain(given["result"]) if given.get("result") else _plain(body) if body else None
    return _Call(given.get("id", ""), given.get("name", ""), _plain(given.get("arguments", "{}")), result)


def _plain(value: str) -> str:
    """A text that was written as JSON once more; anything else as it is."""
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value


def _assistant(text: str, thoughts: list[str], calls: list[_Call]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text.strip("\n") if thoughts or calls else text}
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    return message


def _results(calls: list[_Call]) -> list[dict[str, Any]]:
    answered = [call for call in calls if call.result is not None]
    return [{"role": "tool", "tool_call_id": call.call_id, "content": call.result} for call in answered]
