"""One forward pass as tensors, and which log-probs are wanted of it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from ..errors import TrainingError
from .rows import TokenIds, TrainingSequence


class Scored(NamedTuple):
    """Tokens whose log-probs are wanted.

    Attributes:
        places: (tokens,) int64, where the hidden state that predicts each lies: row times width plus column.
        targets: (tokens,) int64, the tokens themselves.
        owners: (tokens,) int64, the number of the sequence that each belongs to; never falls.
        counts: (sequences,) int64, tokens of each sequence.
        asked: (asked,) int64, the number of the sequence whose log-probs each that asks is given: several may ask for
            the same.
    """

    places: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor
    counts: torch.Tensor
    asked: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """The same tensors on `device`."""
        return type(self)(*(tensor.to(device) for tensor in self))

    def asked_for(self, numbers: Sequence[int]) -> Self:
        """The same tokens, whose sequences are given to those who ask for them by number."""
        return self._replace(asked=torch.tensor(numbers))


class Batch(NamedTuple):
    """One forward pass.

    Attributes:
        input_ids: (rows, time) int64.
        attention: What the model's body takes beside them, by name: who sees whom.
        completions: The completions' tokens.
        prompts: The prompts' tokens after the first; None where they are not asked for.
        carried: (carried,) int64 places of an earlier pass, whose hidden states come before this one's own in `places`;
            None where there are none.
    """

    input_ids: torch.Tensor
    attention: dict[str, Any]
    completions: Scored
    prompts: Scored | None = None
    carried: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same tensors on `device`."""
        attention = {
            name: value.to(device) if hasattr(value, "to") else value for name, value in self.attention.items()
        }
        prompts = None if self.prompts is None else self.prompts.to(device)
        carried = None if self.carried is None else self.carried.to(device)
        return Batch(self.input_ids.to(device), attention, self.completions.to(device), prompts, carried)


def int64(token_ids: TokenIds) -> npt.NDArray[np.int64]:
    """Token ids as an array, also none at all."""
    return np.asarray(token_ids, dtype=np.int64)


def check_prompts(sequences: Sequence[TrainingSequence]) -> None:
    """Raise a TrainingError where a sequence has no prompt token."""
    bare = [sequence.sequence_id for sequence in sequences if not len(sequence.prompt_token_ids)]
    if bare:
        raise TrainingError(
            f"train: {len(bare)} of {len(sequences)} sequences have no prompt token, and nothing predicts their first "
            f"one (first: {bare[0]}). Run the sequences stage again."
        )


def scored(parts: Iterator[tuple[npt.NDArray[np.int64], Any]]) -> Scored:
    """The tokens of each sequence, as (places, token ids), as one."""
    places, targets = zip(*parts, strict=True)
    counts = torch.tensor([len(part) for part in targets])
    return Scored(
        torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(np.concatenate([int64(part) for part in targets])),
        torch.arange(len(counts)).repeat_interleave(counts),
        counts,
        torch.arange(len(counts)),
    )
