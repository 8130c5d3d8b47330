"""What a table, a JSON document and a text hold, in a form that can be committed and compared."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Final

import polars as pl

# Digits that polars and numpy give alike on any CPU; the last bits of a sum depend on its order.
_EXACT_DIGITS: Final = 9
_SUMMARY_DIGITS: Final = 5
# A list of numbers longer than this is kept as its summary.
_LONGEST_LIST: Final = 3
# As JSON, a page or a sentence writes one.
_NUMBER: Final = re.compile(r"[-\u2212+]?\d+(?:[.,]\d+)*(?:e[-\u2212+]?\d+)?")
_FLOATS: Final = (pl.Float32, pl.Float64)


def table(frame: pl.DataFrame) -> dict[str, Any]:
    """Rows of a table and a digest of its columns, their types, and all values in their order."""
    hasher = hashlib.sha256(_line([[name, str(dtype)] for name, dtype in frame.schema.items()]))
    for row in frame.iter_rows():
        hasher.update(_line(row))
    return {"rows": frame.height, "digest": hasher.hexdigest()[:32]}


def trained_table(frame: pl.DataFrame) -> dict[str, Any]:
    """As `table`, with each column of floats summarised, since a model's arithmetic differs between CPUs."""
    floats = [name for name, dtype in frame.schema.items() if dtype in _FLOATS]
    types = {name: str(frame.schema[name]) for name in floats}
    summaries = {name: _summary(frame[name].to_list()) | {"type": types[name]} for name in floats}
    return table(frame.drop(floats)) | {"floats": summaries}


def document(value: Any, left_out: re.Pattern[str]) -> dict[str, Any]:
    """Every leaf of a JSON document by its place.

    A list's entry that holds no list is one leaf: an object of its own leaves. Places that `left_out` matches from
    their beginning are not taken.
    """
    return {place: leaf for place, leaf in _leaves(value, "") if not left_out.match(place)}


def text(content: str) -> dict[str, Any]:
    """Lines of a text and its digest, with every number in it as `0`."""
    masked = _NUMBER.sub("0", content)
    return {"lines": len(content.splitlines()), "digest": hashlib.sha256(masked.encode()).hexdigest()[:32]}


def _line(values: Any) -> bytes:
    return json.dumps(_canonical(values), ensure_ascii=True, sort_keys=True).encode() + b"\n"


def _canonical(value: Any) -> Any:
    """JSON values; a float as text of so many digits, without the sign of a zero."""
    if isinstance(value, float):
        return f"{value + 0.0:.{_EXACT_DIGITS}g}"
    if isinstance(value, Mapping):
        return {key: _canonical(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inside) for inside in value]
    return value.isoformat() if isinstance(value, datetime | date) else value


def _summary(values: list[float | None]) -> dict[str, Any]:
    """How many values there are, how many are no finite number, and the mean, least and greatest of the others."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return {"n": len(values), "missing": len(values)}
    numbers = {"mean": math.fsum(finite) / len(finite), "least": min(finite), "greatest": max(finite)}
    return {"n": len(values), "missing": len(values) - len(finite)} | {
        name: _rounded(number) for name, number in numbers.items()
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_SUMMARY_DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _leaves(inside, f"{place}.{key}" if place else key)
    elif not isinstance(value, list):
        yield place, _rounded(value)
    elif len(value) > _LONGEST_LIST and all(isinstance(entry, int | float | None) for entry in value):
        yield place, _summary(value)
    else:
        yield f"{place}.length", len(value)
        for index, entry in enumerate(value):
            yield from _entry(entry, f"{place}[{index}]")


def _entry(entry: Any, place: str) -> Iterator[tuple[str, Any]]:
    inside = list(_leaves(entry, ""))
    if isinstance(entry, dict) and not any(name.endswith(".length") for name, _ in inside):
        yield place, dict(inside)
    else:
        yield from _leaves(entry, place)
