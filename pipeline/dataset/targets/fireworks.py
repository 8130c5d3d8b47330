"""Fireworks' preference fine-tuning.

Source: Fireworks, "Direct Preference Optimization": messages of system, user and assistant with text, one preferred
and one other message of the assistant, which are the last turn; 3 to 3 million examples.
"""

from typing import Final

from ..rows import Pair
from .base import Limits, Line, Target, Written
from .checks import conversation, ends_with, of_roles, text_pair


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    turns = conversation(texts.prompt).turns
    of_roles(turns, ("user", "assistant"))
    ends_with(turns, "user")
    return Line(
        {
            "input": {"messages": texts.prompt},
            "preferred_output": [texts.chosen],
            "non_preferred_output": [texts.rejected],
        }
    )


def _usage(written: Written) -> str:
    lines = [
        f"firectl dataset create my-pairs {written.file('pairs', 'train')}",
        "firectl dpo-job create --base-model MODEL --dataset my-pairs --output-model NAME",
    ]
    return "\n".join(["```bash", *lines, "```", ""])


TARGET: Final = Target(
    name="fireworks",
    title="Fireworks preference fine-tuning",
    usage=_usage,
    pair=_pair,
    limits=Limits(min_rows=3, max_rows=3_000_000),
)
