"""Token sequences behind one another in one row without padding, and a prompt that several begin with there once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from .attention.segments import Kept, Segment, Segments
from .forward import Batch, check_prompts, int64, scored
from .rows import TrainingSequence

Ids = npt.NDArray[np.int64]


class Answer(NamedTuple):
    """A completion in a row.

    Attributes:
        number: How many completions come before it.
        places: (tokens,) int64, where the hidden state that predicts each of its tokens lies.
        token_ids: (tokens,) int64.
    """

    number: int
    places: Ids
    token_ids: Ids


@dataclass
class Prompt:
    """A prompt in a row.

    Attributes:
        start: Place of its first token.
        token_ids: (tokens,) int64.
        number: How many prompts come before it.
        answers: Its completions, by their bytes: equal ones are there once.
    """

    start: int
    token_ids: Ids
    number: int
    answers: dict[bytes, Answer] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        """The place after its last token."""
        return self.start + len(self.token_ids)


class Packed(NamedTuple):
    """A row, and where the prompts lie in it.

    Attributes:
        batch: One forward pass.
        prompts: By their bytes; one of those that are equal.
    """

    batch: Batch
    prompts: dict[bytes, Prompt]


class Row:
    """A row in the making."""

    def __init__(self) -> None:
        """Begin with no token."""
        self.length = 0
        self._token_ids: list[Ids] = []
        self._positions: list[Ids] = []
        self._parts: list[Segment] = []

    def add(self, token_ids: Ids, position: int = 0, prefix: tuple[int, int] = (0, 0)) -> int:
        """Put tokens at the end; returns the first one's place.

        Args:
            token_ids: They see each other, the earlier ones alone.
            position: Position of the first in its sequence: how long its prefix is.
            prefix: Bounds of what they see beside themselves.
        """
        start = self.length
        if len(token_ids):
            self.length += len(token_ids)
            self._token_ids.append(token_ids)
            self._positions.append(np.arange(position, position + len(token_ids)))
            self._parts.append(Segment(start, self.length, *prefix))
        return start

    def input_ids(self) -> torch.Tensor:
        """(1, time) int64."""
        return torch.from_numpy(np.concatenate(self._token_ids))[None]

    def position_ids(self) -> torch.Tensor:
        """(1, time) int64: each token's position in its own sequence."""
        return torch.from_numpy(np.concatenate(self._positions))[None]

    def segments(self, keeps: Kept | None = None, prefixes: Kept | None = None) -> Segments:
        """Who sees whom; with where keys and values are kept, or are read from."""
        return Segments(tuple(self._parts), keeps, prefixes)


def packed(
    sequences: Sequence[TrainingSequence], *, share: bool, prompts: bool = False, keeps: Kept | None = None
) -> Packed:
    """Sequences as one row.

    Args:
        sequences: At least one, each with at least one prompt token, since something must predict a completion.
        share: Whether equal prompts are there once, before all of their completions.
        prompts: Whether the prompts' own log-probs are wanted too.
        keeps: Where the layers' keys and values are kept for `hung`; None for nowhere.

    Raises:
        TrainingError: A sequence has no prompt token.
    """
    check_prompts(sequences)
    row, placed, asked = Row(), list[Prompt](), list[tuple[Prompt, Answer]]()
    for group in _groups(sequences, share):
        placed.append(_place(row, group, len(placed), sum(len(prompt.answers) for prompt in placed)))
    known = {prompt.token_ids.tobytes(): prompt for prompt in placed}
    for index, sequence in enumerate(sequences):
        prompt = known[int64(sequence.prompt_token_ids).tobytes()] if share else placed[index]
        asked.append((prompt, prompt.answers[int64(sequence.completion_token_ids).tobytes()]))
    answers = (answer for prompt in placed for answer in prompt.answers.values())
    completions = scored((answer.places, answer.token_ids) for answer in answers)
    own = scored((np.arange(prompt.start, prompt.stop - 1), prompt.token_ids[1:]) for prompt in placed)
    batch = Batch(
        row.input_ids(),
        {"position_ids": row.position_ids(), "segments": row.segments(keeps=keeps)},
        completions.asked_for([answer.number for _, answer in asked]),
        own.asked_for([prompt.number for prompt, _ in asked]) if prompts else None,
    )
    return Packed(batch, known)


def _groups(sequences: Sequence[TrainingSequence], share: bool) -> list[tuple[Ids, list[Ids]]]:
    """Prompts with their different completions, in the order of the sequences."""
    groups: dict[bytes | int, tuple[Ids, dict[bytes, Ids]]] = {}
    for index, sequence in enumerate(sequences):
        prompt, completion = int64(sequence.prompt_token_ids), int64(sequence.completion_token_ids)
        _, completions = groups.setdefault(prompt.tobytes() if share else index, (prompt, {}))
        completions.setdefault(completion.tobytes(), completion)
    return [(prompt, list(completions.values())) for prompt, completions in groups.values()]


def _place(row: Row, group: tuple[Ids, list[Ids]], number: int, first: int) -> Prompt:
    """Put a prompt and its completions into a row; `first` completions are in it."""
    token_ids, completions = group
    if len(completions) == 1:
        # Alone with its prompt, a completion is its continuation: one segment.
        start = row.add(np.concatenate([token_ids, completions[0]]))
        places = np.arange(len(completions[0])) + start + len(token_ids) - 1
        answer = Answer(first, places, completions[0])
        return Prompt(start, token_ids, number, {completions[0].tobytes(): answer})
    prompt = Prompt(row.add(token_ids), token_ids, number)
    for completion in completions:
        start = row.add(completion, len(token_ids), (prompt.start, prompt.stop))
        answer = Answer(first + len(prompt.answers), _after(prompt.stop - 1, start, len(completion)), completion)
        prompt.answers[completion.tobytes()] = answer
    return prompt


def _after(last: int, start: int, tokens: int) -> Ids:
    """Places that predict a completion's tokens: its prompt's last, then its own but for the last."""
    return np.concatenate([[last], np.arange(start, start + tokens - 1)])[:tokens]


def hung(partners: Sequence[TrainingSequence], on: Packed, kept: Kept) -> Batch:
    """Sequences hung on the prompts of a row that is computed already: only their completions are computed.

    Those whose prompt is not in the row are computed as a whole.

    Args:
        partners: At least one.
        on: The row.
        kept: What the pass over the row has kept.

    Raises:
        TrainingError: A sequence has no prompt token.
    """
    check_prompts(partners)
    found = [on.prompts.get(int64(partner.prompt_token_ids).tobytes()) for partner in partners]
    carried = {prompt.number: prompt.stop - 1 for prompt in found if prompt is not None}
    order = {number: place for place, number in enumerate(carried)}
    row, parts = Row(), []
    for partner, prompt in zip(partners, found, strict=True):
        completion = int64(partner.completion_token_ids)
        if prompt is None:
            token_ids = int64(partner.prompt_token_ids)
            start = row.add(np.concatenate([token_ids, completion])) + len(carried)
            parts.append((np.arange(len(completion)) + start + len(token_ids) - 1, completion))
        else:
            start = row.add(completion, len(prompt.token_ids), (prompt.start, prompt.stop)) + len(carried)
            parts.append((_after(order[prompt.number], start, len(completion)), completion))
    attention = {"position_ids": row.position_ids(), "segments": row.segments(prefixes=kept)}
    return Batch(
        row.input_ids(), attention, scored(iter(parts)), carried=torch.tensor(list(carried.values()), dtype=torch.int64)
    )


def packed_tokens(sequences: Sequence[TrainingSequence], share: bool) -> int:
    """Tokens of the row that `packed` makes."""
    groups = _groups(sequences, share)
    return sum(len(prompt) + sum(map(len, completions)) for prompt, completions in groups)
