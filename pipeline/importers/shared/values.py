"""Single values of a log, read strictly: a text is a string, a vote is a known label, a time is a time."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ...errors import ConfigError
from ...reading.records import RowError, bounded_label
from ..base import Message
from .labels import LabelTable, label_key, refusal, stated_labels

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
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
        "👎",
    ),
    "retracted": ("retracted", "revoked"),
    "unrated": ("unrated",),
}
_TIME_UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
# A time outside was read in the wrong unit or is a placeholder; no thumb is older than the web.
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIME_CHARACTERS: Final = 64


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

    A whole number is taken as its digits, which say the same; a fraction or a boolean is no id.

    Raises:
        RowError: The value is neither a string nor a whole number.
    """
    value = None if field is None else record.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not an id")


def messages(value: Any, field: str, *, empty: str) -> list[Message]:
    """A text as one user message, or a list of role and content as it is.

    Raises:
        RowError: Neither of the two, an unknown role, or no content anywhere.
    """
    if isinstance(value, str):
        if not value.strip():
            raise RowError(empty, f"field '{field}' is blank")
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a text or a list of messages")
    read = [_message(entry, field) for entry in value]
    if not any(message["content"].strip() for message in read):
        raise RowError(empty, f"field '{field}' has no message with content")
    return read


def _message(entry: Any, field: str) -> Message:
    if not isinstance(entry, dict):
        raise RowError("wrong_type", f"field '{field}' lists a {type(entry).__name__}, not a message")
    role, content = entry.get("role"), entry.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise RowError("wrong_type", f"field '{field}' has a message whose role and content are not both texts")
    if role not in ROLES:
        raise RowError("unknown_role", f"field '{field}' has a message of role {bounded_label(role)}")
    return {"role": role, "content": content}


def answer(value: Any, field: str) -> str:
    """A completion's text, from a text or from a list of exactly one assistant message.

    Raises:
        RowError: Neither of the two, several messages, or blank.
    """
    if not isinstance(value, list):
        return text({field: value}, field, empty="empty_completion")
    listed = messages(value, field, empty="empty_completion")
    if len(listed) != 1:
        raise RowError("several_messages", f"field '{field}' has {len(listed)} messages; a completion is one")
    if listed[0]["role"] != "assistant":
        raise RowError("unknown_role", f"field '{field}' is a message of role '{listed[0]['role']}', not of assistant")
    return listed[0]["content"]


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
    if meaning is None:
        raise refusal(value, field)
    return meaning


def time(record: Mapping[str, Any], field: str | None, unit: str = "s") -> datetime | None:
    """A time in UTC; None where the log has none. A time without a zone is taken as UTC.

    Args:
        record: The row.
        field: ISO 8601 text, a number since 1970, or a time; None where the log has no such field.
        unit: What a number counts: `s`, `ms` or `us`.

    Raises:
        RowError: No time, or not between 1990 and 2100.
    """
    value = None if field is None else record.get(field)
    if value is None or value == "":
        return None
    try:
        moment = _moment(value, _TIME_UNITS[unit])
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RowError("bad_time", f"field '{field}' is no time") from error
    if not _EARLIEST <= moment < _LATEST:
        raise RowError("bad_time", f"field '{field}' is of the year {moment.year}; is option `time_unit` right?")
    return moment


def time_unit(options: Mapping[str, str]) -> str:
    """The option `time_unit`.

    Raises:
        ConfigError: It is none of the known units.
    """
    unit = options.get("time_unit", "s")
    if unit not in _TIME_UNITS:
        raise ConfigError(f"option time_unit is '{unit}', not one of {', '.join(_TIME_UNITS)}.")
    return unit


def _moment(value: Any, per_second: int) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value) <= _MAX_TIME_CHARACTERS:
        return datetime.fromisoformat(value.strip())
    if isinstance(value, int) and not isinstance(value, bool):
        return _EPOCH + timedelta(microseconds=value * (1_000_000 // per_second))
    if isinstance(value, float):
        return _EPOCH + timedelta(seconds=value / per_second)
    raise ValueError("no time")


def same_messages(left: Iterable[Message], right: Iterable[Message]) -> int:
    """How many messages two lists have in common from the start."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
