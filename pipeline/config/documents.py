"""YAML text to a mapping of plain values; whatever YAML can go wrong with is one message."""

from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import ConfigError
from .words import read_yaml

# A run file needs a few dozen values, five levels deep; repeated aliases can make billions of them out of a few lines.
_MOST_VALUES: Final = 100_000
_DEEPEST: Final = 64


def read_document(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: The file is no UTF-8, no YAML, no mapping, or holds more or deeper values than settings can.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not readable as YAML: byte {error.start} is not UTF-8; save the file as UTF-8."
        ) from error
    document = read_value(text, origin=str(path))
    if not isinstance(document, dict):
        held = "an empty file" if document is None else f"a {type(document).__name__}"
        raise ConfigError(f"{path}: a run file is a mapping of keys; this one is {held}.")
    return document


def read_value(text: str, place: tuple[str, ...] = (), *, origin: str) -> Any:
    """The value that YAML text says.

    Args:
        text: YAML.
        place: Names that lead to the setting; none for a whole run file.
        origin: Where it stands, for errors.

    Raises:
        ConfigError: It is no YAML, or holds more or deeper values than settings can.
    """
    try:
        value = read_yaml(text, place)
    except RecursionError as error:
        raise ConfigError(_too_deep(origin)) from error
    # Scalars that look like a date, a number or a set raise what their Python types raise.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{origin}: not readable as YAML: {_one_line(error)}") from error
    if _size(value, origin, {}, _DEEPEST) > _MOST_VALUES:
        raise ConfigError(
            f"{origin}: more than {_MOST_VALUES:,} values, aliases (*name) counted out; settings are few."
        )
    return value


def _size(value: object, origin: str, known: dict[int, int], depth: int) -> int:
    """Values within a value; one that several aliases name counts each time, and is looked at once."""
    if not isinstance(value, dict | list):
        return 1
    if depth == 0:
        raise ConfigError(_too_deep(origin))
    if id(value) not in known:
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, origin, known, depth - 1) for part in parts)
    return known[id(value)]


def _too_deep(origin: str) -> str:
    return f"{origin}: values lie more than {_DEEPEST} levels inside one another; settings need five."


def _one_line(error: Exception) -> str:
    """What YAML says, its place included, without the lines of the file that it quotes over several lines."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or not problem:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}."
