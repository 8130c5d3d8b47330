"""OpenAI's preference fine-tuning; Azure OpenAI takes the same file.

Source: OpenAI, "Direct preference optimization" and API reference "Fine-tuning: preference input" and "Files";
Microsoft, "Direct preference optimization" (Azure OpenAI): an input with messages, tools and `parallel_tool_calls`,
one preferred and one other answer of the assistant, which are the last turn; at least 10 examples, and files of at
most 512 MB.
"""

from typing import Final

from ..rows import Message, Pair
from .base import CannotTakeError, Limits, Line, Target, Written
from .checks import ends_with, of_roles, without_reasoning
from .functions import as_chat, offered, uses_tools

_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_KEYS: Final = ("role", "content", "name", "tool_calls", "tool_call_id")


def _pair(row: Pair) -> Line:
    messages = [_checked(message) for message in row.prompt]
    of_roles(messages, _ROLES)
    ends_with(messages, "user", "tool")
    answers = [_checked(row.chosen), _checked(row.rejected)]
    if not row.tools and uses_tools([*messages, *answers]):
        raise CannotTakeError("tools_not_listed", "tools are called, and the row does not say which were offered")
    chat = as_chat(messages, *answers)
    found: dict[str, object] = {"messages": chat.prompt}
    if row.tools:
        found |= {"tools": offered(row.tools), "parallel_tool_calls": True}
    preferred, other = chat.answers
    return Line({"input": found, "preferred_output": [_said(preferred)], "non_preferred_output": [_said(other)]})


def _checked(message: Message) -> Message:
    taken = without_reasoning(message)
    if taken["role"] == "tool":
        # Its call has the function's name.
        taken.pop("name", None)
    more = sorted(key for key, value in taken.items() if value and key not in _KEYS)
    if more:
        raise CannotTakeError("message_key", f"a turn carries '{more[0]}', for which there is no field")
    if not taken["content"].strip() and not taken.get("tool_calls") and taken["role"] != "tool":
        raise CannotTakeError("empty_message", f"a turn of '{taken['role']}' has no text")
    return taken


def _said(answer: Message) -> Message:
    """An answer that only calls tools has no text, which is null there."""
    return answer if answer["content"] else {**answer, "content": None}


def _usage(written: Written) -> str:
    held_out = written.file("pairs", "validation")
    validation = f'\n    validation_file=uploaded("{held_out}"),' if held_out else ""
    return f"""```python
from openai import OpenAI  # or AzureOpenAI

client = OpenAI()

def uploaded(path):
    return client.files.create(file=open(path, "rb"), purpose="fine-tune").id

client.fine_tuning.jobs.create(
    model="gpt-4.1-mini-2025-04-14",
    training_file=uploaded("{written.file("pairs", "train")}"),{validation}
    method={{"type": "dpo", "dpo": {{"hyperparameters": {{"beta": 0.1}}}}}},
)
```
"""


TARGET: Final = Target(
    name="openai",
    title="OpenAI preference fine-tuning (Azure OpenAI takes the same file)",
    usage=_usage,
    pair=_pair,
    limits=Limits(min_rows=10, max_bytes=512 * 10**6),
)
