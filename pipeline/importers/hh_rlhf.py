"""HH-RLHF's transcripts: a chosen and a rejected conversation as one text each, with marks before every turn.

The turns stand behind `Human:` and `Assistant:`, each after an empty line. The two conversations are to differ in their
last answer only; a few of the published rows differ before it or end in an empty turn, and are rejected. A turn that
says the mark of its own side again goes on with it, as in rows where somebody pasted a transcript.
"""

import re
from typing import Final

from ..reading.records import Options, RowError, Sample
from .base import Message, RawEvent, Row, row_importer
from .shared import values
from .shared.votes import compared

_ROLES: Final = {"Human": "user", "Assistant": "assistant"}
_MARK: Final = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_FIRST: Final = "Human:"


def detect(sample: Sample, options: Options) -> bool:
    """Whether the sides are texts that begin with the mark of a person's turn; most do where all should."""
    sides = [record.get(side) for record in sample.records for side in ("chosen", "rejected")]
    marked = sum(isinstance(side, str) and side.lstrip("\n").startswith(_FIRST) for side in sides)
    return 2 * marked > len(sides)


def _events(row: Row) -> list[RawEvent]:
    return compared(_side(row, "chosen"), _side(row, "rejected"), "first", "preference")


def _side(row: Row, field: str) -> RawEvent:
    turns = _turns(values.text(row, field, empty="empty_completion"), field)
    if turns[-1]["role"] != "assistant":
        raise RowError("not_an_answer", f"field '{field}' does not end in an answer")
    return RawEvent(turns[:-1], turns[-1]["content"])


def _turns(transcript: str, field: str) -> list[Message]:
    """The turns of one transcript, those of one side in a row as one.

    Raises:
        RowError: It does not begin with a mark, or a turn is empty.
    """
    before, *parts = _MARK.split(transcript.lstrip("\n"))
    if before.strip() or len(parts) < 4:
        raise RowError("no_text", f"field '{field}' does not begin with a turn of each side")
    turns: list[Message] = []
    for mark, text in zip(parts[::2], parts[1::2], strict=True):
        if not text.strip():
            raise RowError("empty_completion", f"field '{field}' has an empty turn of {mark}")
        if turns and turns[-1]["role"] == _ROLES[mark]:
            turns[-1]["content"] += "\n\n" + text.strip()
        else:
            turns.append({"role": _ROLES[mark], "content": text.strip()})
    return turns


SPEC: Final = row_importer(
    "hh_rlhf",
    "HH-RLHF transcripts: chosen and rejected conversations with Human: and Assistant: before the turns.",
    detect=detect,
    parse=_events,
)
