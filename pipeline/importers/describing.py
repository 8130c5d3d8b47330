"""What one format reads, in words: its options, and a small log of it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from ..reading import encodings, hub
from .registry import HUB, HUB_NAME, importer

_EXAMPLES: Final = Path(__file__).with_name("examples.yaml")


class Described(NamedTuple):
    """One format.

    Attributes:
        name: What `format` in a run file says.
        reads: What it reads.
        options: Option to its meaning, its default and the labels that it knows among it.
        example: File to its text: a log of that format; none where another package adds the format.
    """

    name: str
    reads: str
    options: Mapping[str, str]
    example: Mapping[str, str]


def describe_format(name: str) -> Described:
    """A format in words.

    Raises:
        ConfigError: There is none of that name, or its package is broken.
    """
    if name == HUB_NAME:
        return Described(name, HUB, hub.OPTIONS, {})
    spec = importer(name)
    return Described(name, spec.description, {**spec.options, **encodings.OPTIONS}, _examples().get(name, {}))


@cache
def _examples() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = yaml.safe_load(_EXAMPLES.read_text(encoding="utf-8"))
    return found
