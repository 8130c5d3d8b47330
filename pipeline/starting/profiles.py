"""What the first rows of a table hold, column by column: texts, labels, ids or times."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..importers.shared.labels import label_key
from ..importers.shared.times import time
from ..importers.shared.values import VOTE_LABELS
from ..reading.records import Sample

MOST_LABELS: Final = 30
_LONGEST_LABEL: Final = 24
_KNOWN: Final = frozenset(label for labels in VOTE_LABELS.values() for label in labels)


class Profile(NamedTuple):
    """One column of a table.

    Attributes:
        name: Its name.
        filled: Rows in which it says something.
        distinct: Different values among them.
        words: Mean words of its texts; 0 where it holds none.
        texts: Share of values that are texts.
        lists: Share of values that are lists or objects, or texts that begin as one.
        labels: Share of values that may be labels: short, or numbers.
        known: Share of values that are words for a vote.
        numbers: Share of values that are numbers, or texts of one.
        times: Share of values that are times.
        example: The first value, bounded.
    """

    name: str
    filled: int
    distinct: int
    words: float
    texts: float
    lists: float
    labels: float
    known: float
    numbers: float
    times: float
    example: str


def profiles(sample: Sample) -> list[Profile]:
    """The columns of a sample in their order; those that say nothing in any row are left out."""
    return [found for name in sample.fields if (found := _profile(name, sample)) is not None]


def _profile(name: str, sample: Sample) -> Profile | None:
    values = [value for record in sample.records if (value := record.get(name)) not in (None, "")]
    if not values:
        return None
    texts = [value for value in values if isinstance(value, str)]
    return Profile(
        name=name,
        filled=len(values),
        distinct=len({repr(value) for value in values}),
        words=sum(len(text.split()) for text in texts) / len(texts) if texts else 0.0,
        texts=len(texts) / len(values),
        lists=_share(values, _is_list),
        labels=_share(values, lambda value: 0 < len(label_key(value)) <= _LONGEST_LABEL),
        known=_share(values, lambda value: label_key(value) in _KNOWN),
        numbers=_share(values, _is_number),
        times=_share(values, lambda value: time({name: value}, name) is not None),
        example=shortened(values[0]),
    )


def shortened(value: Any, most: int = 50) -> str:
    """A value in one line of at most `most` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _share(values: Sequence[Any], holds: Callable[[Any], bool]) -> float:
    return sum(map(holds, values)) / len(values)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | dict) or (isinstance(value, str) and value.lstrip().startswith(("[{", '{"')))


def _is_number(value: Any) -> bool:
    return number_of(label_key(value)) is not None


def number_of(label: str) -> float | None:
    """The number that a label is; None where it is a word."""
    try:
        return float(label) if label and label.strip("+-").replace(".", "", 1).isdigit() else None
    except ValueError:
        return None
