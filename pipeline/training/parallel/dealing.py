"""Which micro-batches of a step each process computes: a function of the step's rows and the number of processes."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from ..rows import Row

_RowT = TypeVar("_RowT", bound=Row)


class Turn(NamedTuple):
    """What one process computes in one round.

    Attributes:
        place: The micro-batch's number among those of the step; -1 for a stand-in.
        rows: Its rows. Where there is none left for the process, the step's shortest row stands in: its result counts
            nothing, and the process takes part in what the others exchange.
    """

    place: int
    rows: list[Row]

    @property
    def counts(self) -> bool:
        """Whether the rows are the process's own share."""
        return self.place >= 0


def deal(parts: Sequence[Sequence[_RowT]], rank: int, size: int) -> list[Turn]:
    """One process's turns: as many as any other's, with tokens as even as whole micro-batches allow.

    Args:
        parts: All micro-batches of the step.
        rank: The process's number.
        size: Number of processes.
    """
    if size == 1:
        return [Turn(place, list(part)) for place, part in enumerate(parts)]
    filled = _filled(parts, size)
    order = sorted(range(len(filled)), key=lambda place: (-_tokens(filled[place]), place))
    loads = [0] * size
    turns: list[Turn] = []
    for start in range(0, len(order), size):
        # In a round all wait for each other: it takes parts of like size, the largest for whom has had least.
        least = sorted(range(size), key=lambda process: (loads[process], process))
        taken = dict(zip(least, order[start : start + size], strict=False))
        for process, place in taken.items():
            loads[process] += _tokens(filled[place])
        place = taken.get(rank, -1)
        turns.append(Turn(place, list(filled[place])) if place >= 0 else _stand_in(parts))
    return turns


def _filled(parts: Sequence[Sequence[_RowT]], size: int) -> list[list[_RowT]]:
    """The micro-batches, the largest of them halved until they fill whole rounds: a part may be smaller, not larger."""
    filled = [list(part) for part in parts]
    while len(filled) % size:
        place = max(range(len(filled)), key=lambda place: (len(filled[place]) > 1, _tokens(filled[place]), -place))
        part = filled[place]
        if len(part) == 1:
            break
        half = (len(part) + 1) // 2
        filled[place : place + 1] = [part[:half], part[half:]]
    return filled


def _tokens(part: Sequence[Row]) -> int:
    return sum(sequence.length for row in part for sequence in row.sequences)


def _stand_in(parts: Sequence[Sequence[_RowT]]) -> Turn:
    rows = [row for part in parts for row in part]
    return Turn(-1, [min(rows, key=lambda row: (_tokens([row]), row.row_id))])
