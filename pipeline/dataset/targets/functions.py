"""Tools and tool calls, whoever logged them, as functions with names, parameters and arguments."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..rows import Message
from .base import CannotTakeError


class Call(NamedTuple):
    """A call of a function.

    Attributes:
        call_id: What its result refers to; None where the log has none.
        name: The function's name.
        arguments: JSON text, as the model wrote it where that was logged.
    """

    call_id: str | None
    name: str
    arguments: str

    def parsed(self) -> Any:
        """The arguments as an object.

        Raises:
            CannotTakeError: They are no JSON: `tool_arguments`.
        """
        try:
            return json.loads(self.arguments)
        except ValueError:
            raise CannotTakeError("tool_arguments", f"the arguments of '{self.name}' are no JSON") from None


def functions(tools: list[Any]) -> list[dict[str, Any]]:
    """Each tool as `name`, `description` and `parameters`, a JSON schema.

    Raises:
        CannotTakeError: One is no function: `tools_not_functions`.
    """
    return [_function(tool) for tool in tools]


def _function(tool: Any) -> dict[str, Any]:
    inside = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(inside, Mapping) or not isinstance(inside.get("name"), str):
        raise CannotTakeError("tools_not_functions", "a tool that was offered is no function with a name")
    parameters = inside.get("parameters", inside.get("input_schema"))
    return {
        "name": inside["name"],
        "description": inside.get("description") or "",
        "parameters": parameters or {"type": "object", "properties": {}},
    } | ({"strict": inside["strict"]} if inside.get("strict") is not None else {})


def offered(tools: list[Any]) -> list[dict[str, Any]]:
    """Each tool in the form of OpenAI's chat completions: as it is where it has that form; see `functions`."""
    found = zip(tools, functions(tools), strict=True)
    return [
        {**tool, "type": "function"} if "function" in tool else {"type": "function", "function": function}
        for tool, function in found
    ]


def calls(message: Message) -> list[Call]:
    """The calls of a message, in order.

    Raises:
        CannotTakeError: One has no name: `tool_calls_unknown`.
    """
    return [_call(call) for call in message.get("tool_calls") or []]


def _call(call: Any) -> Call:
    inside = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(inside, Mapping) or not isinstance(inside.get("name"), str):
        raise CannotTakeError("tool_calls_unknown", "a tool call has no function's name")
    arguments = inside.get("arguments", inside.get("args", {}))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    call_id = call.get("id")
    return Call(call_id if isinstance(call_id, str) and call_id else None, inside["name"], text)


def uses_tools(messages: list[Message]) -> bool:
    """Whether a turn calls a tool or gives a tool's result."""
    return any(message.get("tool_calls") or message["role"] == "tool" for message in messages)


class Chat(NamedTuple):
    """Messages in the form of OpenAI's chat completions.

    Attributes:
        prompt: Those before the answer.
        answers: One a message, each following the prompt.
    """

    prompt: list[Message]
    answers: list[Message]


def as_chat(prompt: list[Message], *answers: Message) -> Chat:
    """Prompt and answers in the form of OpenAI's chat completions; see `ToolTurns.take`.

    Raises:
        CannotTakeError: Calls and results do not go together.
    """
    turns = ToolTurns()
    taken = [turns.take(message) for message in prompt]
    turns.close()
    return Chat(taken, [turns.branch().take(answer) for answer in answers])


class ToolTurns:
    """Messages in the form of OpenAI's chat completions: each call has an id, and each result refers to one."""

    def __init__(self) -> None:
        """Nothing has been called."""
        self._open: list[str] = []
        self._count = 0

    def take(self, message: Message) -> Message:
        """The message with `tool_calls` and `tool_call_id` as they are asked for there.

        A call without an id gets one by its place; a result without one is that of the first call still open.

        Raises:
            CannotTakeError: A result of no call, or a turn before all calls have their results:
                `tool_calls_unanswered`.
        """
        if message["role"] == "tool":
            return {**message, "tool_call_id": self._answered(message)}
        self.close()
        taken = {key: value for key, value in message.items() if key not in ("tool_calls", "tool_call_id") and value}
        taken |= {"content": message["content"]}
        found = calls(message)
        if found:
            taken["tool_calls"] = [self._called(call) for call in found]
        return {"role": taken.pop("role"), **taken}

    def close(self) -> None:
        """Nothing, where every call has its result; see `take`."""
        if self._open:
            raise CannotTakeError("tool_calls_unanswered", f"{len(self._open)} tool calls have no result")

    def branch(self) -> "ToolTurns":
        """The same place in the conversation, for one of several answers."""
        other = ToolTurns()
        other._count = self._count
        return other

    def _called(self, call: Call) -> dict[str, Any]:
        call_id = call.call_id or f"call_{self._count}"
        self._count += 1
        self._open.append(call_id)
        return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

    def _answered(self, message: Message) -> str:
        call_id = message.get("tool_call_id") or (self._open[0] if self._open else "")
        if call_id not in self._open:
            raise CannotTakeError("tool_calls_unanswered", "a tool's result refers to no call before it")
        self._open.remove(call_id)
        return str(call_id)
