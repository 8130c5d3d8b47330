"""Arguments of the wrong type, refused by their name before anything is done with them."""

from collections.abc import Sequence, Set
from numbers import Integral, Real
from os import PathLike
from typing import Final

from ..errors import ConfigError

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "number": Real,
    "whole number": Integral,
    "text": str,
    "text or path": (str, PathLike),
}


def check_numbers(**values: object) -> None:
    """Refuse what is no number; None is left to what takes it.

    Raises:
        ConfigError: Names the argument and what it is.
    """
    _check("number", values)


def check_whole(**values: object) -> None:
    """Refuse what is no whole number; None is left to what takes it.

    Raises:
        ConfigError: Names the argument and what it is.
    """
    _check("whole number", values)


def check_texts(**values: object) -> None:
    """Refuse what is no text; None is left to what takes it.

    Raises:
        ConfigError: Names the argument and what it is.
    """
    _check("text", values)


def require_texts(**values: object) -> None:
    """Refuse what is no text, None too.

    Raises:
        ConfigError: Names the argument and what it is.
    """
    _check("text", values, may_be_none=False)


def check_paths(**values: object) -> None:
    """Refuse what is neither a text nor a path, an empty one, and one with a NUL character; None is left alone.

    Raises:
        ConfigError: Names the argument and what it is.
    """
    _check("text or path", values)
    for name, value in values.items():
        if value == "":
            raise ConfigError(f"{name} is an empty text, and no path.")
        if "\0" in str(value):
            raise ConfigError(f"{name} holds a NUL character, which no path can have.")


def texts_of(**values: object) -> tuple[str, ...]:
    """The texts of an argument that is a list of them.

    Raises:
        ConfigError: It is none, and is named.
    """
    ((name, given),) = values.items()
    if not isinstance(given, Sequence | Set) or not all(isinstance(entry, str) for entry in given):
        raise ConfigError(f"{name} has to be a text or a list of texts, not a {type(given).__name__} of others.")
    return tuple(str(entry) for entry in given)


def _check(kind: str, values: dict[str, object], *, may_be_none: bool = True) -> None:
    for name, value in values.items():
        if value is None and may_be_none:
            continue
        # To Python a boolean is a number.
        if isinstance(value, bool) or not isinstance(value, _KINDS[kind]):
            raise ConfigError(f"{name} has to be a {kind}, not a {type(value).__name__}.")
