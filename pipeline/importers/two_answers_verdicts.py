"""What a verdict on two answers means: a label that names one of them, a number, or two scores."""

import re
from typing import Any, Final, NamedTuple

from ..reading.records import Options, Record, RowError, Source, bounded_label
from .base import Row
from .shared.labels import OUTCOMES, LabelTable, label_key, refusal, stated_labels
from .shared.seen import noted
from .two_answers_columns import Columns

_NUMBER: Final = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?")
_SIDES: Final = ("first", "second")
_LETTERS: Final = ("a", "b")
_PLACES: Final = (("first", "left"), ("second", "right"))
_STEMS: Final = ("model", "response", "output", "answer", "assistant")
_TIES: Final = ("tie", "tied", "draw", "equal", "same", "a=b", "b=a", "[[c]]")
_BOTH_BAD: Final = ("both_bad", "bothbad", "both bad", "tie (bothbad)")
# Of published sets: SHP's `labels`, and a column that holds the number in the better answer's name.
_SHP: Final = {"1": "first", "0": "second"}
_NUMBERED: Final = "better_response_id"
_FIRST, _TIE, _SECOND = 1.0, 1.5, 2.0
_LARGEST: Final = 1e300


class Verdicts(NamedTuple):
    """What the verdicts of one table mean.

    Attributes:
        labels: Label to outcome: the stated ones, and those that are known by the columns' names.
        numbers: Whether 1, 2 and what lies between them are on the scale of the answers' own numbers.
    """

    labels: LabelTable
    numbers: bool


def verdicts_of(source: Source, columns: Columns, options: Options) -> Verdicts:
    """What the verdicts of a source mean; all of them are looked at.

    Raises:
        ConfigError: Stated labels collide.
    """
    stated = {OUTCOMES[name]: options[name] for name in OUTCOMES if name in options}
    return Verdicts(stated_labels(stated).over(_known_labels(columns)), _on_scale(source, columns))


def _known_labels(columns: Columns) -> dict[str, str]:
    """The labels that name an answer by its column, its place or its letter, and ties."""
    known = dict.fromkeys(_TIES, "tied") | dict.fromkeys(_BOTH_BAD, "both_bad")
    for index, outcome in enumerate(_SIDES):
        own, other = _LETTERS[index], _LETTERS[1 - index]
        ends = {own, columns.pair.suffixes[index].strip("_")} - {""}
        names = [f"{stem}{gap}{end}" for stem in _STEMS for gap in ("", " ", "_") for end in ends]
        signs = (f"{own}>{other}", f"{own}>>{other}", f"{other}<{own}", f"{other}<<{own}", f"[[{own}]]")
        known |= dict.fromkeys([columns.pair.names[index].lower(), own, *_PLACES[index], *names, *signs], outcome)
    verdict = (columns.preference or "").lower()
    if verdict == "labels" and columns.pair.first.lower() == "human_ref_a":
        known |= _SHP
    if verdict == _NUMBERED:
        known |= {columns.pair.suffixes[index].strip("_"): outcome for index, outcome in enumerate(_SIDES)}
    return known


def _on_scale(source: Source, columns: Columns) -> bool:
    """Whether all numbers of the verdict are the answers' own: 1, 2, what lies between, and 0 for a tie beside a 2."""
    if columns.preference is None or columns.pair.suffixes[0] == "_0":
        return False
    verdicts = (row.value.get(columns.preference) for row in source.rows() if isinstance(row, Record))
    # AlpacaEval's mark of an annotation that failed is no number of the scale; it stays unknown.
    numbers = {number for number in map(_number, verdicts) if number is not None} - {-1.0}
    if not all(number == 0 or _FIRST <= number <= _SECOND for number in numbers):
        return False
    with_second = any(number > _FIRST for number in numbers)
    # Letters number nothing: there 0 may be an answer, and 1 alone may be either.
    if columns.pair.suffixes[0].strip("_") == "1":
        return with_second or 0.0 not in numbers
    return with_second and 0.0 not in numbers


def _number(value: Any) -> float | None:
    """A number, or a text of one as CSV has; None for anything else."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        return None
    return float(value)


def outcome_of(row: Row, columns: Columns, verdicts: Verdicts) -> str:
    """`first`, `second`, `tied` or `both_bad`.

    Raises:
        RowError: Nobody said which answer is better, or it is not known what the verdict means.
    """
    if columns.preference is None:
        return "first" if columns.scores is None else _by_score(row, columns.scores)
    verdict = _given(row, columns.preference)
    known = verdicts.labels.get(label_key(verdict)) or _by_number(verdict, verdicts)
    outcome = known or _by_name(row, verdict, columns.models) or _by_name(row, verdict, columns.pair.names)
    noted(verdict, columns.preference, outcome)
    if outcome is None:
        raise refusal(verdict, columns.preference, tuple(OUTCOMES))
    return outcome


def _given(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None or value == "":
        raise RowError("no_vote", f"field '{name}' is null, missing or empty: nobody compared the answers")
    return value


def _by_score(row: Row, names: tuple[str, str]) -> str:
    first, second = (_score(row, name) for name in names)
    if first == second:
        return "tied"
    return "first" if first > second else "second"


def _score(row: Row, name: str) -> float:
    value = _given(row, name)
    flag = {"true": 1.0, "false": 0.0}.get(label_key(value))
    number = _number(value) if flag is None else flag
    if number is None:
        raise RowError("unknown_label", f"field '{name}' is {bounded_label(value)}, not a number")
    return number


def _by_number(verdict: Any, verdicts: Verdicts) -> str | None:
    number = _number(verdict) if verdicts.numbers else None
    if number is None or number < 0:
        return None
    if number in (0.0, _TIE):
        return "tied"
    return "first" if number < _TIE else "second"


def _by_name(row: Row, verdict: Any, names: tuple[str | None, str | None]) -> str | None:
    """The answer whose model, or whose text, the verdict repeats, where it is only one of the two."""
    held = [row.get(name) if name is not None else None for name in names]
    if not isinstance(verdict, str) or held.count(verdict) != 1:
        return None
    return _SIDES[held.index(verdict)]
