"""Where a prompt ends and its completion begins, and that answers to one prompt continue the same tokens."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

from .refusals import Refusal

# Where a prompt ends in what was written of prompt and answer: `prefix` where all of it is the beginning of both,
# `shortened` where its end is not, `apart` where the two were not written or tokenised together.
Boundary = Literal["prefix", "shortened", "apart"]
ROWS_PER_CALL: Final = 1024


class Turn(NamedTuple):
    """A row's tokens before it is cut to length.

    Attributes:
        ids: Prompt and completion, 4 bytes a token: a prompt may have answers without end.
        start: Where the completion begins.
        boundary: How that was found.
        noticed: What was noticed.
        may_think: Whether a thought may be among the tokens.
    """

    ids: "array[int]"
    start: int
    boundary: Boundary
    noticed: tuple[str, ...]
    may_think: bool = False


def common_length(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Number of leading items that two sequences share."""
    if other[: len(one)] == one:
        return len(one)
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )


def whole_groups(groups: Sequence[object]) -> Iterator[slice]:
    """Slices of whole groups, of about as many rows as go through the tokenizer in one call.

    Args:
        groups: Equal values lie behind one another.
    """
    start = 0
    for place in range(1, len(groups) + 1):
        ends = place == len(groups) or (place - start >= ROWS_PER_CALL and groups[place] != groups[place - 1])
        if ends:
            yield slice(start, place)
            start = place


def of_one_prompt(turns: Sequence[Turn | Refusal], groups: Sequence[object]) -> Iterator[Turn | Refusal]:
    """Turns whose completions begin where the first of their group does: they continue one prompt."""
    for _, group in groupby(zip(groups, turns, strict=True), key=itemgetter(0)):
        members = [turn for _, turn in group]
        shortened = [turn for turn in members if isinstance(turn, Turn) and turn.boundary == "shortened"]
        first = min(shortened, key=lambda turn: turn.start, default=None)
        yield from (turn if first is None else _cut_like(turn, first) for turn in members)


def _cut_like(turn: Turn | Refusal, first: Turn) -> Turn | Refusal:
    """The turn with its completion from where that of `first` begins, if both continue the same tokens."""
    start = first.start
    if isinstance(turn, Refusal) or turn.boundary == "apart" or turn.start <= start or not start:
        return turn
    return turn._replace(start=start, boundary="shortened") if turn.ids[:start] == first.ids[:start] else turn
