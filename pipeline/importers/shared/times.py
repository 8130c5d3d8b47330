"""When a row was written: ISO 8601, a number since 1970 whose unit its size tells, or a time as Parquet has it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ...errors import ConfigError
from ...reading.remarks import TOLD_UNIT, UNREADABLE, remark

# Units to the second.
_UNITS: Final[Mapping[str, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
TOLD: Final = "auto"
OPTIONS: Final = {
    "time_unit": "What a numeric time counts since 1970: s, ms, us or ns; auto (default): its size tells."
}
# A time outside was read in the wrong unit or is a placeholder; no thumb is older than the web. Between the two no
# number is a time in two units.
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = int(_EARLIEST.timestamp())
_LAST_SECOND: Final = int(_LATEST.timestamp())
_MAX_CHARACTERS: Final = 64
# How BigQuery writes the zone of every time.
_BIGQUERY_ZONE: Final = re.compile(r" UTC$")
# Digits as CSV has them; eight are a date without signs, and fourteen one with its clock.
_DIGITS: Final = re.compile(r"\d{9,13}(?:\.\d{1,9})?|\d{15,20}")


def time(record: Mapping[str, Any], field: str | None, unit: str = TOLD) -> datetime | None:
    """A time in UTC; None where the log has none. A time without a zone is taken as UTC.

    What is no time, or not between 1990 and 2100, is left out, with a remark: it costs no vote.

    Args:
        record: The row.
        field: ISO 8601 text, a number since 1970, or a time; None where the log has no such field.
        unit: What a number counts: `s`, `ms`, `us` or `ns`; `auto`: its size tells, and a remark says what.
    """
    value = None if field is None else record.get(field)
    if value is None or value == "":
        return None
    try:
        number = _number(value)
        moment = _moment(value) if number is None else _since_1970(number, unit, field)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        remark(UNREADABLE, f"{field}: no time")
        return None
    if not _EARLIEST <= moment < _LATEST:
        remark(UNREADABLE, f"{field}: a time before 1990 or after 2099{_hint(number, unit)}")
        return None
    return moment


def time_unit(options: Mapping[str, str]) -> str:
    """The option `time_unit`.

    Raises:
        ConfigError: It is none of the known units.
    """
    unit = options.get("time_unit", TOLD)
    if unit not in (TOLD, *_UNITS):
        raise ConfigError(f"option time_unit is '{unit}', not one of {', '.join((TOLD, *_UNITS))}.")
    return unit


def _hint(number: int | float | None, unit: str) -> str:
    return "" if number is None or unit == TOLD else " by option `time_unit`"


def _number(value: Any) -> int | float | None:
    """The number that a value is, or whose digits it is; None where it is none."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return float(value) if "." in value else int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _since_1970(number: int | float, unit: str, field: str | None) -> datetime:
    per_second = _UNITS.get(unit) or _told(number, field)
    if isinstance(number, int):
        return _EPOCH + timedelta(microseconds=number * 1_000_000 // per_second)
    return _EPOCH + timedelta(seconds=number / per_second)


def _told(number: int | float, field: str | None) -> int:
    """Units to the second in which a number is a time; seconds where it is one in none."""
    unit = told_unit(number) or "s"
    if unit != "s":
        remark(TOLD_UNIT, f"{field} in {_NAMES[unit]}")
    return _UNITS[unit]


def told_unit(value: Any) -> str | None:
    """What a number, or its digits, counts since 1970 by its size: `s`, `ms`, `us` or `ns`; None: it is no time."""
    number = _number(value)
    if number is None:
        return None
    for unit, per_second in _UNITS.items():
        if _FIRST_SECOND * per_second <= number < _LAST_SECOND * per_second:
            return unit
    return None


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value) <= _MAX_CHARACTERS:
        return datetime.fromisoformat(_BIGQUERY_ZONE.sub("+00:00", value.strip()))
    raise ValueError("no time")
