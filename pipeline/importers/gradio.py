"""Gradio's flagging log of a chat interface: one row a thumb, with the conversation as JSON in a cell.

Its header names five columns over rows of four values, so that the time stands under `flag`; rows of both widths are
read. Messages are objects with a role, or, in older logs, pairs of a user's and an assistant's text. An answer is
named by its index among the messages, or by pair and side.
"""

from typing import Any, Final

from ..reading.guard import decode_object
from ..reading.records import RowError, bounded_label
from .base import RawEvent, Row, has_columns
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.threads import Turn, answer_of, turn
from .shared.votes import known_label

_VOTES: Final = {"Like": "up", "Dislike": "down"}
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}


def _event(row: Row, labels: Labels) -> RawEvent:
    turns = _turns(_json(row, "conversation"))
    index = _index(_json(row, "index"), len(turns))
    value = row.get("value")
    prompt, said = answer_of({str(number): turn for number, turn in enumerate(turns)}, str(index))
    return RawEvent(
        prompt=prompt,
        **said._asdict(),
        vote="unrated" if value is None else known_label(value, labels, "value"),
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
        return turn(parent, role, message.get("content"), "content")
    except RowError as error:
        return error


def _index(index: Any, count: int) -> int:
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


SPEC: Final = labelled_importer(
    "gradio",
    "Gradio's log.csv of a chat interface: Like or Dislike, with the conversation as JSON in a cell.",
    detect=has_columns({"conversation", "index", "value", "timestamp"}),
    parse=lambda row, labels: [_event(row, labels)],
    known=_VOTES,
)
