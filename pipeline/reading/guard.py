"""One line of JSON to one dict, or the reason why not: what readers of whole files let pass or die of."""

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from .records import RowError

MAX_NESTING: Final = 64
_MAX_KEY_CHARACTERS: Final = 60
# A string, what Python writes for a number that is none, or a number (that is no key).
_STRING_OR_NUMBER: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*+"|-?\bInfinity\b|\bNaN\b|-?\b(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?(?![\w.+-]|\s*:)'
)
# Python reads no longer ones.
_MOST_DIGITS: Final = 4_300
_SPACE_BEFORE_COLON: Final = re.compile(rb'"[ \t\r\n]+:').search

_decode = msgspec.json.Decoder().decode


def decode_row(line: bytes) -> tuple[dict[str, Any], list[str]]:
    """The JSON object on `line`, and the fields in which a NaN or an Infinity was read as null.

    No JSON has these; Python writes them where a number is missing. The mark that a file began with, before it was put
    behind another, is passed over. A number that is too large to be held is read as the
    text that it is: most stand in fields that nothing reads.

    Raises:
        RowError: As `decode_object`, but for a number out of range.
    """
    line = line.removeprefix(BOM_UTF8)
    try:
        return decode_object(line), []
    except RowError as error:
        if error.reason != "number_out_of_range" and b"NaN" not in line and b"Infinity" not in line:
            raise
        held, fields = _held(line)
        if held == line:
            raise
        try:
            return decode_object(held), fields
        except RowError:
            pass
        raise


def _held(line: bytes) -> tuple[bytes, list[str]]:
    """The line with null for each NaN and Infinity outside of strings, and a text for each number that is too large.

    Beside it the strings before what became null: its fields.
    """
    fields: dict[str, None] = {}
    last = b""

    def held(found: re.Match[bytes]) -> bytes:
        nonlocal last
        token = found.group()
        if token.startswith(b'"'):
            last = token
            return token
        if token[-1:].isdigit():
            return b'"%b"' % token if _is_too_large(token) else token
        fields[last[1 : _MAX_KEY_CHARACTERS + 1].rstrip(b'"').decode("utf-8", "replace")] = None
        return b"null"

    return _STRING_OR_NUMBER.sub(held, line), list(fields)


def _is_too_large(number: bytes) -> bool:
    is_whole = number.lstrip(b"-").isdigit()
    return len(number) > _MOST_DIGITS if is_whole else math.isinf(float(number))


def decode_object(line: bytes) -> dict[str, Any]:
    """The JSON object on `line`.

    Raises:
        RowError: No JSON, no object, not UTF-8, a lone surrogate, a NUL, a number out of range, a key twice in one
            object, or nested deeper than `MAX_NESTING`.
    """
    try:
        value = _decode(line)
    except RecursionError as error:
        raise RowError("nesting_too_deep", f"more than {MAX_NESTING} levels") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _diagnosis(line, error) from error
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"a {_json_type(value)}, not an object")
    if line.count(b"{") + line.count(b"[") > MAX_NESTING and _deeper_than(value, MAX_NESTING):
        raise RowError("nesting_too_deep", f"more than {MAX_NESTING} levels")
    if b"\\u0000" in line and has_nul(value):
        raise RowError("nul_character", "a string holds U+0000")
    _refuse_duplicate_keys(line, value)
    return value


def _diagnosis(line: bytes, error: Exception) -> RowError:
    """Why `line` does not decode, in the order in which a person would want to know."""
    if b"\x00" in line:
        return RowError("nul_character", "a NUL byte stands in the line")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as encoding:
        return RowError("invalid_utf8", f"byte {encoding.start} is not UTF-8")
    if isinstance(error, msgspec.ValidationError):
        return RowError("number_out_of_range", "a number is too large to be held")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return RowError("broken_json", f"{error}")
    # The standard library lets pass what msgspec refuses: half of a surrogate pair, and NaN or Infinity.
    if "\\ud" in text.lower():
        return RowError("lone_surrogate", "a string holds half of a surrogate pair")
    return RowError("broken_json", f"{error}")


def _json_type(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _deeper_than(value: object, levels: int) -> bool:
    """Whether containers are nested more than `levels` deep; breadth first, so that no depth can exhaust the stack."""
    layer: list[object] = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent) if isinstance(child, dict | list)]
        if not layer:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def has_nul(value: object) -> bool:
    """Whether a string anywhere in `value`, keys included, holds U+0000."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(child) for key, child in value.items())
    return isinstance(value, list) and any(has_nul(child) for child in value)


def has_lone_surrogate(value: object) -> bool:
    """Whether a string anywhere in `value`, keys included, holds half of a surrogate pair."""
    if isinstance(value, str):
        return not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(has_lone_surrogate(key) or has_lone_surrogate(child) for key, child in value.items())
    return isinstance(value, list) and any(has_lone_surrogate(child) for child in value)


def _refuse_duplicate_keys(line: bytes, value: dict[str, Any]) -> None:
    """Raise RowError where an object names a key twice: readers disagree on which one counts.

    Every key is followed by `":`, so that as many of these as there are keys proves the line free of repeats. More of
    them can also come from text, and white space before a colon hides them: then the slow, exact parser decides.
    """
    if line.count(b'":') == _key_count(value) and _SPACE_BEFORE_COLON(line) is None:
        return
    try:
        json.loads(line, object_pairs_hook=_unique_pairs)
    except _RepeatedKeyError as error:
        raise RowError("duplicate_key", f"an object has the key {error.key[:_MAX_KEY_CHARACTERS]!r} twice") from error


def _key_count(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_key_count(child) for child in value.values() if isinstance(child, dict | list))
    if isinstance(value, list):
        return sum(_key_count(child) for child in value if isinstance(child, dict | list))
    return 0


class _RepeatedKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, child in pairs:
        if key in fields:
            raise _RepeatedKeyError(key)
        fields[key] = child
    return fields
