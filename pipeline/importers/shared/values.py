"""Single values of a log, read strictly: a text is a string, a vote is a known label, a time is a time."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from ...reading.records import RowError
from ...reading.remarks import UNREADABLE, remark
from ..base import Message
from .labels import LabelTable, label_key, refusal, stated_labels
from .seen import noted
from .times import time as time
from .times import time_unit as time_unit

VOTE_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "up": (
        "up",
        "thumbs_up",
        "thumbs-up",
        "thumbsup",
        "thumbs up",
        "upvote",
        "like",
        "liked",
        "positive",
        "true",
        "yes",
        "good",
        "👍",
    ),
    "down": (
        "down",
        "thumbs_down",
        "thumbs-down",
        "thumbsdown",
        "thumbs down",
        "downvote",
        "dislike",
        "disliked",
        "negative",
        "false",
        "no",
        "bad",
        "👎",
    ),
    "retracted": ("retracted", "revoked"),
    "unrated": ("unrated",),
}
# Whole numbers up to here are exact as floats.
_EXACT: Final = 1 << 53


def text(record: Mapping[str, Any], field: str, *, empty: str) -> str:
    """A string field that says something.

    Args:
        record: The row.
        field: The field's name.
        empty: Reason code where the text is blank.

    Raises:
        RowError: The field is missing, null, no string, or blank.
    """
    value = present(record, field)
    if not isinstance(value, str):
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text")
    if not value.strip():
        raise RowError(empty, f"field '{field}' is blank")
    return value


def present(record: Mapping[str, Any], field: str) -> Any:
    """A field that is there and not null.

    Raises:
        RowError: It is not.
    """
    value = record.get(field)
    if value is None:
        raise RowError("missing_field", f"field '{field}' is {'null' if field in record else 'missing'}")
    return value


def identifier(record: Mapping[str, Any], field: str | None) -> str | None:
    """An id or a name as a string; None where the log has none.

    A whole number is taken as its digits, which say the same. A fraction, a boolean or an object is no id: it is left
    out, with a remark, and costs no vote.
    """
    value = None if field is None else record.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and -_EXACT < value < _EXACT and value.is_integer():
        return str(int(value))  # what pandas makes of whole numbers beside a missing one
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    remark(UNREADABLE, f"{field}: a {type(value).__name__} is no id")
    return None


def link(record: Mapping[str, Any], field: str | None) -> str | None:
    """The id of something else that the row speaks of, as `identifier` gives it; None where the log has none.

    Raises:
        RowError: There is a value, and it is no id: what the row speaks of is not known.
    """
    found = identifier(record, field)
    value = None if field is None else record.get(field)
    if found is None and value is not None and value != "":
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not an id")
    return found


def vote_table(stated: Mapping[str, str]) -> LabelTable:
    """Label to vote: the known names, and over them what the user states.

    A number is never among the known names: 1 is up on one scale and the worst of five stars on another.

    Args:
        stated: Vote to its labels, comma separated, such as `{"up": "1", "down": "2"}`.

    Raises:
        ConfigError: A label is stated for two votes.
    """
    return stated_labels(stated).over({label: vote for vote, labels in VOTE_LABELS.items() for label in labels})


def vote(record: Mapping[str, Any], field: str, table: Mapping[str, str]) -> str:
    """The vote that a field holds; null is unrated.

    Raises:
        RowError: The field is missing, or its label is not in `table`.
    """
    if field not in record:
        raise RowError("missing_field", f"field '{field}' is missing; an unrated row says null")
    value = record[field]
    if value is None:
        return "unrated"
    meaning = table.get(label_key(value))
    noted(value, field, meaning)
    if meaning is None:
        raise refusal(value, field)
    return meaning


def same_messages(left: Iterable[Message], right: Iterable[Message]) -> int:
    """How many messages two lists have in common from the start."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
