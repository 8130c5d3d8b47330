"""Which labels rows held and what each was taken for, counted while somebody watches."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from ...reading.records import bounded_label
from .labels import label_key


class Label(NamedTuple):
    """One label of a log.

    Attributes:
        field: Where it stands.
        key: As `label_key` gives it; empty for what is no label.
        shown: As it was logged, bounded.
        meaning: What it was taken for; None where it is not known.
    """

    field: str
    key: str
    shown: str
    meaning: str | None


_OPEN: Final[ContextVar["Counter[Label] | None"]] = ContextVar("labels_watched", default=None)


@contextmanager
def watching() -> Iterator["Counter[Label]"]:
    """The labels that are read while the block runs, with how often."""
    labels: Counter[Label] = Counter()
    token = _OPEN.set(labels)
    try:
        yield labels
    finally:
        _OPEN.reset(token)


def noted(value: Any, field: str, meaning: str | None) -> None:
    """Count a label; nothing happens where nobody watches.

    Args:
        value: The label as it was logged.
        field: Where it stands.
        meaning: What it was taken for; None where it is not known.
    """
    labels = _OPEN.get()
    if labels is not None:
        labels[Label(field, label_key(value), _shown(value), meaning)] += 1


def _shown(value: Any) -> str:
    bounded = bounded_label(value)
    return value.strip() if isinstance(value, str) and len(value) < len(bounded) else bounded
