"""Together's preference fine-tuning.

Source: Together, "Preference fine-tuning", and the check of files in its Python client
(`together.lib.utils.files`): roles alternate after an optional system turn, the input does not end with the
assistant, both outputs are one message of the assistant with text, no other key stands in a line, and files have at
most 50.1 GiB.
"""

from typing import Final

from ..rows import Pair
from .base import Limits, Line, Target, Written
from .checks import alternating, conversation, ends_with, of_roles, text_pair


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    turns = conversation(texts.prompt).turns
    of_roles(turns, ("user", "assistant"))
    alternating(turns)
    ends_with(turns, "user")
    return Line(
        {
            "input": {"messages": texts.prompt},
            "preferred_output": [texts.chosen],
            "non_preferred_output": [texts.rejected],
        }
    )


def _usage(written: Written) -> str:
    train, held_out = written.file("pairs", "train"), written.file("pairs", "validation")
    files = [f"together files upload {name}" for name in (train, held_out) if name]
    validation = " --validation-file FILE_ID" if held_out else ""
    return "\n".join(
        [
            "```bash",
            *files,
            "together fine-tuning create --training-file FILE_ID"
            f"{validation} --model MODEL --training-method dpo --dpo-beta 0.1 --lora",
            "```",
            "",
        ]
    )


TARGET: Final = Target(
    name="together",
    title="Together preference fine-tuning",
    usage=_usage,
    pair=_pair,
    limits=Limits(max_bytes=int(50.1 * 2**30)),
)
