"""Gradio's flagging log of a chat interface: one row a thumb, with the conversation as JSON in a cell.

Its header names five columns over rows of four values, so that the time stands under `flag`; rows of both widths are
read. Messages are objects with a role, or, in older logs, pairs of a user's and an assistant's text. An answer is
named by its index among the messages, or by pair and side.
"""

from collections.abc import Iterator
from typing import Any, Final

from ..reading.guard import decode_object
from ..reading.records import Options, Record, RowError, Sample, Source, bounded_label
from .base import Batch, ImporterSpec, RawEvent, read_rows
from .shared import values
from .shared.threads import Turn, answer_of, plain_text
from .shared.votes import known_label

NAME: Final = "gradio"
_VOTES: Final = {"Like": "up", "Dislike": "down"}
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}


def detect(sample: Sample, options: Options) -> bool:
    """Whether the columns are those of the log, by either header."""
    return set(sample.fields) >= {"conversation", "index", "value", "timestamp"}


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the log's thumbs."""
    return read_rows(source, lambda record: [_event(record)])


def _event(record: Record) -> RawEvent:
    row = record.value
    turns = _turns(_json(row, "conversation"))
    place = _place(_json(row, "index"), len(turns))
    value = row.get("value")
    prompt, completion = answer_of({str(number): turn for number, turn in enumerate(turns)}, str(place))
    return RawEvent(
        prompt=prompt,
        completion=completion,
        vote="unrated" if value is None else known_label(value, _VOTES, "value"),
        created_at=values.time(row, "timestamp"),
    )


def _json(row: dict[str, Any], field: str) -> Any:
    """The JSON that a cell holds, guarded like a line of its own.

    Raises:
        RowError: The cell is empty, no text, or holds no JSON.
    """
    cell = values.text(row, field, empty="missing_field")
    return decode_object(f'{{"cell":{cell}}}'.encode()).get("cell")


def _turns(messages: Any) -> list[Turn | RowError]:
    """The messages, each following the one before it; a pair of texts is two.

    Raises:
        RowError: It is no list of messages or of pairs.
    """
    if not isinstance(messages, list):
        raise RowError("wrong_type", f"field 'conversation' is a {type(messages).__name__}, not a list of messages")
    if messages and all(isinstance(pair, list) and len(pair) == 2 for pair in messages):
        messages = [
            {"role": role, "content": "" if text is None else text}
            for pair in messages
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    return [_turn(message, str(number - 1) if number else None) for number, message in enumerate(messages)]


def _turn(message: Any, parent: str | None) -> Turn | RowError:
    try:
        if not isinstance(message, dict):
            raise RowError("wrong_type", f"field 'conversation' lists a {type(message).__name__}, not a message")
        role = known_label(message.get("role"), _ROLES, "role")
        return Turn(parent, role, plain_text(message.get("content"), "content"))
    except RowError as error:
        return error


def _place(index: Any, count: int) -> int:
    """Which message an index names.

    Raises:
        RowError: It is neither a number nor pair and side, or no message stands there.
    """
    if isinstance(index, list) and len(index) == 2 and all(type(part) is int for part in index):
        index = 2 * index[0] + index[1]
    if type(index) is not int:
        raise RowError("wrong_type", f"field 'index' is {bounded_label(index)}, not the place of a message")
    if not 0 <= index < count:
        raise RowError("missing_answer", f"field 'index' is {index}, the conversation has {count} messages")
    return index


SPEC: Final = ImporterSpec(
    name=NAME,
    description="Gradio's log.csv of a chat interface: Like or Dislike, with the conversation as JSON in a cell.",
    detect=detect,
    read=read,
)
