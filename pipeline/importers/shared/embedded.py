"""Values inside a text: JSON, or Python's own writing of them, through the guards that a line passes."""

import ast
import json
import re
from typing import Any, Final

from ...reading.guard import decode_object
from ...reading.records import RowError

# NumPy writes no comma between the objects of a list; in Python's writing no text holds a line break of its own.
_NO_COMMA: Final = re.compile(r"\}\n\s*\{")
# What Python says of a text that ends too early.
_CUT: Final = ("unterminated", "never closed", "unexpected EOF")
_MAX_CHARACTERS: Final = 4_000_000


def parsed(value: Any, begins: tuple[str, ...] = ("{", "[")) -> Any:
    """The value of a string that is JSON, as spreadsheets and span attributes hold it; anything else as it is.

    Args:
        value: Anything.
        begins: How such a string begins; empty for any.
    """
    if not isinstance(value, str) or (begins and not value.lstrip().startswith(begins)):
        return value
    try:
        # Inside an object it passes every guard of a line: depth, repeated keys, NUL.
        decoded = decode_object(b'{"value":' + value.encode() + b"}")
    except (RowError, UnicodeEncodeError):
        return value
    return decoded["value"] if len(decoded) == 1 else value


def literal(text: str) -> Any:
    """The value of a text that is JSON or a literal of Python, such as a list with single quotes; else the text."""
    value = parsed(text)
    if value is not text or len(text) > _MAX_CHARACTERS:
        return value
    for written in (text, _NO_COMMA.sub("},\n{", text)):
        try:
            return parsed(json.dumps(ast.literal_eval(written.strip())))
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def is_cut(text: str) -> bool:
    """Whether a text that is no literal is the beginning of one, as a cell that was too long for a spreadsheet."""
    try:
        # As text: Python makes no number of more than 4,300 digits.
        json.JSONDecoder(parse_int=str).raw_decode(text.strip())
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated") or error.pos >= len(text.strip()):
            return True
    except RecursionError:
        return False
    try:
        ast.parse(text.strip()[:_MAX_CHARACTERS], mode="eval")
    except SyntaxError as error:
        return any(word in str(error.msg) for word in _CUT)
    except (ValueError, RecursionError, MemoryError):
        return False
    return False
