"""What a log's labels mean: a format's own, and over them those that options state.

A label is stated as it stands in the log, `up: GOOD`, several separated by commas, and a number also as a range:
`up: ">=4", down: "<=2"`. A text of digits and the number are one label, and so are `1.0` and `1`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...errors import ConfigError
from ...reading.records import Options, RowError, Sample, Source, bounded_label
from ..base import Batch, Events, ImporterSpec, Row, read_rows

_NUMBER: Final = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?")
_RANGE: Final = re.compile(r"(>=|<=|>|<)\s*([+-]?\d{1,20}(?:\.\d{1,20})?)")
_TRAILING: Final = re.compile(r"([+-]?\d{1,20})(?:\.0+|(\.\d*?[1-9])0+)")
_LONGEST_SHOWN: Final = 40
_LARGEST: Final = 10**20
_UNTONED: Final = dict.fromkeys((0xFE0F, *range(0x1F3FB, 0x1F400)))
_RATINGS: Final = ("up", "down", "retracted", "unrated")
# Option to the outcome of a comparison that its labels mean.
OUTCOMES: Final[Mapping[str, str]] = {
    "first_wins": "first",
    "second_wins": "second",
    "tied": "tied",
    "both_bad": "both_bad",
}


class _Range(NamedTuple):
    """Numbers from `low` to `high`, either of which may itself be left out."""

    low: float
    high: float
    with_low: bool
    with_high: bool

    def holds(self, number: float) -> bool:
        return self.low < number < self.high or (
            (number == self.low and self.with_low) or (number == self.high and self.with_high)
        )

    def meets(self, other: "_Range") -> bool:
        low, high = max(self.low, other.low), min(self.high, other.high)
        return low < high or (low == high and self.holds(low) and other.holds(low))


class LabelTable(Mapping[str, str]):
    """Label, as `label_key` gives it, to what it means; ranges of numbers among them."""

    def __init__(self, labels: Mapping[str, str], ranges: tuple[tuple[_Range, str], ...] = ()) -> None:
        """Keep both; a label goes before a range."""
        self._labels = dict(labels)
        self._ranges = ranges

    def __getitem__(self, key: str) -> str:
        """The meaning of a label.

        Raises:
            KeyError: It has none.
        """
        meaning = self._labels.get(key)
        if meaning is None and self._ranges and _NUMBER.fullmatch(key):
            meaning = next((meaning for one, meaning in self._ranges if one.holds(float(key))), None)
        if meaning is None:
            raise KeyError(key)
        return meaning

    def __iter__(self) -> Iterator[str]:
        """The labels; numbers in a range are not listed."""
        return iter(self._labels)

    def __len__(self) -> int:
        """How many labels there are beside ranges."""
        return len(self._labels)

    def over(self, known: Mapping[str, str]) -> "LabelTable":
        """This table with what `known` says where this one says nothing."""
        kept = {label: meaning for label, meaning in known.items() if label not in self}
        return LabelTable(kept | self._labels, self._ranges)


def stated_labels(stated: Mapping[str, str]) -> LabelTable:
    """The labels that options state.

    Args:
        stated: Meaning to its labels, such as `{"up": "1, GOOD", "down": "<=2"}`.

    Raises:
        ConfigError: A label or a number is stated for two meanings, or a label is empty.
    """
    labels: dict[str, str] = {}
    ranges: list[tuple[_Range, str]] = []
    for meaning, listed in stated.items():
        for label in map(str.strip, listed.split(",")):
            if not label:
                raise ConfigError(f"option {meaning} has an empty label in '{listed}'; null is unrated already.")
            found = _RANGE.fullmatch(label)
            if found:
                ranges.append((_range(found[1], float(found[2])), meaning))
            elif labels.setdefault(label_key(label), meaning) != meaning:
                raise ConfigError(
                    f"label '{label}' is stated for two votes: '{labels[label_key(label)]}' and '{meaning}'."
                )
    _check_ranges(labels, ranges)
    return LabelTable(labels, tuple(ranges))


def _range(sign: str, bound: float) -> _Range:
    if sign.startswith(">"):
        return _Range(bound, float("inf"), sign == ">=", with_high=False)
    return _Range(float("-inf"), bound, with_low=False, with_high=sign == "<=")


def _check_ranges(labels: Mapping[str, str], ranges: list[tuple[_Range, str]]) -> None:
    points = [
        (_Range(float(label), float(label), with_low=True, with_high=True), meaning)
        for label, meaning in labels.items()
        if _NUMBER.fullmatch(label)
    ]
    for one, meaning in ranges:
        for other, its_meaning in [*ranges, *points]:
            if meaning != its_meaning and one.meets(other):
                raise ConfigError(f"options {meaning} and {its_meaning} both state the meaning of one number.")


def label_key(value: Any) -> str:
    """A label as tables hold it; an empty text where the value is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = repr(value)
    # The digits of a number beyond any label's need not be written out.
    if not isinstance(value, str | int) or (isinstance(value, int) and abs(value) > _LARGEST):
        return ""
    key = str(value).strip().lower()
    if not key.isascii():
        # A thumb's colour of skin, and the sign that asks for its picture, say nothing of the vote.
        key = key.translate(_UNTONED)
    trailing = _TRAILING.fullmatch(key)
    return key if trailing is None else f"{trailing[1]}{trailing[2] or ''}"


def told_by_others(column: Iterable[Any]) -> dict[str, str]:
    """What labels of a column mean by those beside them: 1 and 0 beside true and false, and +1 and -1 as texts.

    Args:
        column: Labels as they were logged, of the first rows.
    """
    labels = [value for value in column if value is not None]
    keys = set(map(label_key, labels))
    numbers = {key for key in keys if _NUMBER.fullmatch(key)}
    if numbers and numbers <= {"1", "0"} and keys & {"true", "false"}:
        return {"1": "up", "0": "down"}
    texts = all(isinstance(value, str) for value in labels if label_key(value) in numbers)
    return {"+1": "up", "-1": "down"} if numbers and numbers <= {"+1", "-1"} and texts else {}


def refusal(value: Any, field: str, options: tuple[str, ...] = ("up", "down"), known: str = "") -> RowError:
    """Why a label is not read, and by which option it would be.

    Args:
        value: The label as it was logged.
        field: Its place.
        options: Options that would state it, the likeliest first.
        known: What is known instead.
    """
    shown = f"field '{field}' is {bounded_label(value)}" + (f", not {known}" if known else "")
    key = label_key(value)
    if not key or len(key) > _LONGEST_SHOWN or not options:
        return RowError("unknown_label", shown)
    label = str(value).strip() if isinstance(value, str) else key
    examples = " or ".join(f'{option}: "{label}"' for option in options[:2])
    more = f', or a range such as {options[0]}: ">={label}"' if _NUMBER.fullmatch(key) else ""
    return RowError("unknown_label", f"{shown}; state what it means in events.options: {examples}{more}")


class Labels(NamedTuple):
    """The labels of one format under given options.

    Attributes:
        known: The format's own, each of its own type.
        stated: Those that the user states.
        options: The options that state them.
    """

    known: Mapping[Any, str]
    stated: LabelTable
    options: tuple[str, ...]


def labels_of(options: Options, known: Mapping[Any, str]) -> Labels:
    """The labels of a format of which `known` are its own.

    Raises:
        ConfigError: Two stated labels collide.
    """
    names = label_options(known)
    stated = {OUTCOMES.get(name, name): options[name] for name in names if name in options}
    return Labels(known, stated_labels(stated), tuple(names))


def label_options(known: Mapping[Any, str]) -> dict[str, str]:
    """The options by which the labels of a format are stated, with their meaning.

    Args:
        known: The format's own labels: ratings, outcomes of comparisons, or both.
    """
    meanings = set(known.values())
    ratings = _RATINGS if meanings & set(_RATINGS) else ()
    outcomes = OUTCOMES if meanings & set(OUTCOMES.values()) else {}
    own = {name: [str(label) for label, meaning in known.items() if meaning == name] for name in meanings}
    return {
        option: described(meaning, own.get(meaning, ()))
        for option, meaning in [*zip(ratings, ratings, strict=True), *outcomes.items()]
    }


def described(meaning: str, own: Sequence[str]) -> str:
    """What an option that states labels says of itself.

    Args:
        meaning: What the labels mean.
        own: Labels that mean this already.
    """
    # A number and its digits as a text are two labels that read the same.
    beside = f", beside: {', '.join(dict.fromkeys(own))}" if own else ""
    return f"Labels or ranges such as >=4, comma separated, that mean {meaning}{beside}."


def labelled_importer(
    name: str,
    description: str,
    *,
    detect: Callable[[Sample, Options], bool],
    parse: Callable[[Row, Labels], Events],
    known: Mapping[Any, str],
) -> ImporterSpec:
    """A format whose rows are read one at a time, and whose labels the user may add to.

    Args:
        name: What `format` in a run file says.
        description: One line for `thumbline formats`.
        detect: Whether a sample is of this format; `base.has_columns` makes one.
        parse: A row's events under the labels; an error that it yields rejects one event, one that it raises ends the
            row.
        known: The format's own labels, each of its type, and what they mean.
    """

    def read(source: Source, options: Options) -> Iterator[Batch]:
        labels = labels_of(options, known)
        return read_rows(source, lambda record: parse(record.value, labels))

    return ImporterSpec(name, description, detect, read=read, options=label_options(known))
