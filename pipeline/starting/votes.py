"""What the labels of a log mean: those that its format knows, and a guess for each other, to be asked and stated."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import InputError, examples
from ..importers.shared.labels import OUTCOMES, label_key
from ..importers.shared.seen import Label
from .profiles import MOST_LABELS, number_of
from .questions import Ask, Choice, Question, Topic
from .vocabulary import DOWNS, NEITHER, UPS

UP, DOWN, NO_VOTE, LEFT = "up", "down", "unrated", ""
_RATINGS: Final = (
    Choice(UP, "a thumb up"),
    Choice(DOWN, "a thumb down"),
    Choice(NO_VOTE, "no vote"),
    Choice(LEFT, "not known: its rows are rejected, with the reason"),
)
_SIDES: Final = (
    Choice("first", "the first answer is better"),
    Choice("second", "the second answer is better"),
    Choice("tied", "neither is"),
    Choice(LEFT, "not known: its rows are rejected, with the reason"),
)
_OPTION_OF: Final = {outcome: option for option, outcome in OUTCOMES.items()}
_FEW_NUMBERS: Final = 12


class Scale(NamedTuple):
    """What numbers mean where more is better: up from `up` on, down to `down`.

    Attributes:
        up: The least that is a thumb up.
        down: The most that is a thumb down.
        name: As a person calls it.
    """

    up: float
    down: float
    name: str


class Word(NamedTuple):
    """One label of a log.

    Attributes:
        key: As options state it: a label in small letters, or a range of numbers.
        shown: As the log has it.
        rows: How often.
        meaning: What it is taken for: `up`, `down`, `unrated` or another vote, or an outcome; empty: nothing.
        known: Whether the format knows it, or the user has stated it.
        why: What a guess is made of.
    """

    key: str
    shown: str
    rows: int
    meaning: str
    known: bool
    why: str = ""

    @property
    def label(self) -> str:
        """How options state it: as the log has it."""
        return self.shown if label_key(self.shown) == self.key else self.key


def words_of(labels: Mapping[Label, int]) -> list[Word]:
    """The labels of a log, each with what it is taken for, the most frequent first; numbers in their order."""
    rows: Counter[str] = Counter()
    firsts: dict[str, Label] = {}
    for label, count in labels.items():
        rows[label.key] += count
        if label.meaning is not None or label.key not in firsts:
            firsts[label.key] = label
    known = [Word(key, one.shown, rows[key], one.meaning, known=True) for key, one in firsts.items() if one.meaning]
    unknown = {key: one for key, one in firsts.items() if not one.meaning and key}
    numbers = {key: value for key in unknown if (value := number_of(key)) is not None}
    compared = any(word.meaning in _OPTION_OF for word in known)
    others = [_guessed(key, one.shown, rows[key]) for key, one in unknown.items() if key not in numbers]
    return _ordered([*known, *others, *_of_numbers(numbers, rows, compared=compared)])


def _ordered(words: Iterable[Word]) -> list[Word]:
    def order(word: Word) -> tuple[float, float, str]:
        number = number_of(word.key)
        return (0.0, number, word.key) if number is not None else (1.0, -word.rows, word.key)

    return sorted(words, key=order)


def _guessed(key: str, shown: str, rows: int) -> Word:
    stem = key.replace(" ", "_")
    for meaning, listed in ((UP, UPS), (DOWN, DOWNS), (NO_VOTE, NEITHER)):
        if stem in listed or key in listed:
            return Word(key, shown, rows, meaning, known=False, why="the word says so")
    return Word(key, shown, rows, LEFT, known=False, why="the word is not known")


def _of_numbers(numbers: Mapping[str, float], rows: Mapping[str, int], *, compared: bool) -> list[Word]:
    if not numbers:
        return []
    if compared:
        return [Word(key, key, rows[key], LEFT, known=False, why="a number names no answer") for key in numbers]
    scale = scale_of(set(numbers.values()))
    if len(numbers) > _FEW_NUMBERS:
        return _ranges(numbers, rows, scale)
    return [Word(key, key, rows[key], _on(scale, value), known=False, why=scale.name) for key, value in numbers.items()]


def _on(scale: Scale, number: float) -> str:
    return UP if number >= scale.up else DOWN if number <= scale.down else NO_VOTE


def _ranges(numbers: Mapping[str, float], rows: Mapping[str, int], scale: Scale) -> list[Word]:
    """Numbers that are too many to be listed: those above and those below; what lies between stays rejected."""
    counted: Counter[str] = Counter()
    for key, value in numbers.items():
        counted[_on(scale, value)] += rows[key]
    made = [
        Word(f">={scale.up:g}", f"{scale.up:g} or more", counted[UP], UP, known=False, why=scale.name),
        Word(f"<={scale.down:g}", f"{scale.down:g} or less", counted[DOWN], DOWN, known=False, why=scale.name),
        Word("", f"between {scale.down:g} and {scale.up:g}", counted[NO_VOTE], LEFT, known=True),
    ]
    return [word for word in made if word.rows]


def scale_of(numbers: set[float]) -> Scale:
    """The scale that numbers are on, as far as they tell it; more is taken as better."""
    low, high = min(numbers), max(numbers)
    whole = all(number.is_integer() for number in numbers)
    if numbers <= {0.0, 1.0}:
        return Scale(1, 0, "1 and 0 are yes and no")
    if low < 0 and high <= 1 and low >= -1:
        return Scale(1, -1, "1 and -1 are up and down") if whole else Scale(0.1, -0.1, "from -1 to 1, more is better")
    if not whole and high <= 1:
        return Scale(0.7, 0.4, "from 0 to 1, more is better")
    if numbers <= {1.0, 2.0}:
        return Scale(2, 1, "2 is more than 1; it may be the other way round")
    for most, up, down in ((3, 3, 1), (5, 4, 2), (7, 6, 3), (10, 7, 4), (100, 70, 40)):
        if low >= 0 and high <= most:
            return Scale(up, down, f"up to {most}, more is better")
    third = (high - low) / 3
    return Scale(high - third, low + third, f"from {low:g} to {high:g}, more is better")


def asked_words(source: str, words: Sequence[Word], ask: Ask) -> list[Word]:
    """The words, each that was not known with what the answers make of it.

    Args:
        source: Whose labels they are.
        words: As `words_of` gives them.
        ask: Who answers.

    Raises:
        InputError: They are too many to be labels.
    """
    unsure = [word for word in words if not word.known]
    if len(unsure) > MOST_LABELS:
        raise InputError(
            f"{source}: the column of the vote holds {len(unsure)} different labels of which none is known (first: "
            f"{examples((word.shown for word in unsure), 3)}). Is another column the vote? State it: "
            "--set 'events.options={vote: COLUMN}'."
        )
    if not unsure:
        return list(words)
    compared = any(word.meaning in _OPTION_OF for word in words)
    choices = _SIDES if compared else _RATINGS
    questions = tuple(
        Question(f"{word.shown} ({word.rows:,} {'row' if word.rows == 1 else 'rows'})", choices, word.meaning, word.why)
        for word in unsure
    )
    title = f"{source}: what do these {'verdicts' if compared else 'votes'} mean?"
    answers = ask(Topic(title, questions, stated(unsure)))
    meant = dict(zip((word.key for word in unsure), answers, strict=True))
    return [word._replace(meaning=meant.get(word.key, word.meaning)) for word in words]


def stated(words: Sequence[Word]) -> dict[str, str]:
    """The options that state what words mean: of numbers a range where one holds them all.

    A label with a comma cannot be stated, since commas separate labels.
    """
    by_meaning: dict[str, list[Word]] = {}
    for word in words:
        if word.meaning and word.key and "," not in word.key:
            by_meaning.setdefault(word.meaning, []).append(word)
    ends = _ends(words)
    return {
        _OPTION_OF.get(meaning, meaning): ", ".join(
            dict.fromkeys(ends.get(meaning, word.key) if _in_order(word) else word.label for word in listed)
        )
        for meaning, listed in by_meaning.items()
    }


def _in_order(word: Word) -> bool:
    return number_of(word.key) is not None


def _ends(words: Sequence[Word]) -> dict[str, str]:
    """`up` and `down` to ranges, where the numbers among the words are more than two and in order."""
    numbers = {number: word.meaning for word in words if (number := number_of(word.key)) is not None}
    ups, downs = (sorted(n for n, meaning in numbers.items() if meaning == side) for side in (UP, DOWN))
    if len(numbers) <= len("01") or not ups or not downs:
        return {}
    scale = scale_of(set(numbers))
    up = scale.up if _splits(numbers, scale.up, UP) else ups[0]
    down = scale.down if _splits(numbers, scale.down, DOWN) else downs[-1]
    if not (_splits(numbers, up, UP) and _splits(numbers, down, DOWN)):
        return {}
    return {UP: f">={up:g}", DOWN: f"<={down:g}"}


def _splits(numbers: Mapping[float, str], bound: float, meaning: str) -> bool:
    """Whether exactly the numbers from the bound on, or up to it, have the meaning."""
    inside = {number for number in numbers if (number >= bound if meaning == UP else number <= bound)}
    return inside == {number for number, its in numbers.items() if its == meaning}
