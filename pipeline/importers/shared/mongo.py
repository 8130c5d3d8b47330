"""Values as MongoDB's own export writes them: `{"$oid": ...}` for an id, `{"$date": ...}` for a time."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ...reading.remarks import UNREADABLE, remade, remark

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def plain_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with each of its own fields in the plain form; what is plain already stays.

    A time that is none is a time that the record has not, with a remark.
    """
    return remade(record, lambda name, value: (name, _plain(value, name)))


def _plain(value: Any, field: str) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (kind, inner), *_ = value.items()
    if kind == "$date" and isinstance(inner, dict):
        return _time(inner.get("$numberLong"), field)
    return inner if kind in ("$oid", "$date", "$uuid") else value


def _time(milliseconds: Any, field: str) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=int(milliseconds))
    except (TypeError, ValueError, OverflowError):
        remark(UNREADABLE, f"{field}: no time")
        return None
