"""Preference lines of OpenAI's fine-tuning, which Azure, Together and Fireworks take too.

A line has what was asked under `input` (`messages`, and the `tools` that were offered), and under `preferred_output`
and `non_preferred_output` one message of the assistant each.

Source: OpenAI, direct preference optimisation guide.
"""

from typing import Any, Final

from ..reading.records import RowError
from .base import RawEvent, Row, has_columns, row_importer
from .shared import values
from .shared.calls import TOOLS, offered_tools
from .shared.embedded import parsed
from .shared.messages import messages
from .shared.pairs import Pair, Sides, listed, pair_events, side_of

NAME: Final = "openai_preference"
_SIDES: Final = Sides("preferred_output", "non_preferred_output")


def _events(row: Row) -> list[RawEvent]:
    asked: Any = parsed(values.present(row, "input"))
    held = asked if isinstance(asked, dict) and "messages" in asked else {"messages": asked}
    prompt = messages(values.present(held, "messages"), "input.messages", empty="empty_prompt")
    if prompt[-1]["role"] == "assistant":
        raise RowError("not_a_prompt", "field 'input.messages' ends in an answer")
    chosen, rejected = (side_of(listed(values.present(row, name), name), name, prompt) for name in _SIDES)
    return pair_events(Pair(prompt, chosen, rejected, offered_tools(held.get(TOOLS), f"input.{TOOLS}")), NAME)


SPEC: Final = row_importer(
    NAME,
    "OpenAI's preference lines: input with messages and tools, preferred_output, non_preferred_output.",
    detect=has_columns({"input", *_SIDES}),
    parse=_events,
)
