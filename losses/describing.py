"""What the hyper-parameters of a method mean, as its config's own docstring says."""

import dataclasses
import inspect
import re
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from .registry import loss_spec

_WORDS: Final = {float: "number", int: "whole number", bool: "true | false", str: "text"}


def describe_method(name: str) -> list[dict[str, str]]:
    """One row a hyper-parameter of the method: what it takes, its default and its meaning.

    Raises:
        ValueError: There is no method of that name; the message names the nearest and lists all.
    """
    config = loss_spec(name).config
    hints, meanings = get_type_hints(config), attributes(config)
    return [
        {
            "hyper-parameter": field.name,
            "takes": _takes(hints[field.name]),
            "default": _plain(field.default),
            "meaning": meanings.get(field.name, ""),
        }
        for field in dataclasses.fields(config)
    ]


def attributes(documented: type) -> dict[str, str]:
    """Meanings by name, from the section `Attributes` of a class's docstring in Google's style."""
    _, _, section = inspect.cleandoc(documented.__doc__ or "").partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _takes(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    parts = [part for part in get_args(hint) if part is not NoneType]
    return " or ".join(map(_takes, parts)) if parts else _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _plain(default: Any) -> str:
    """A default as a run file has it."""
    if default is dataclasses.MISSING:
        return "required"
    return "unset" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
