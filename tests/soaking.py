"""Of the variants of a long test, those that every run tries, and the rest, which `make soak` does."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_soaked(values: Iterable[Any], kept: Collection[Any]) -> list[Any]:
    """The values of a parameter: those of `kept` as they are, the others marked `soak`.

    Raises:
        ValueError: One of `kept` is not there: a test that was renamed would run nowhere but in `make soak`.
    """
    found = list(values)
    if missing := [value for value in kept if value not in found]:
        raise ValueError(f"no such variants: {missing}")
    return [value if value in kept else pytest.param(value, marks=pytest.mark.soak) for value in found]
