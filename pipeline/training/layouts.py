"""Token sequences as the tensors of one forward pass, and which log-probs are wanted of it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from ..errors import TrainingError
from .rows import TrainingSequence


class Scored(NamedTuple):
    """Tokens whose log-probs are wanted.

    Attributes:
        places: (tokens,) int64, where the hidden state that predicts each lies: row times width plus column.
        targets: (tokens,) int64, the tokens themselves.
        owners: (tokens,) int64, the number of the sequence that each belongs to; never falls.
        counts: (sequences,) int64, tokens of each sequence.
    """

    places: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor
    counts: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """The same tensors on `device`."""
        return type(self)(*(tensor.to(device) for tensor in self))


class Batch(NamedTuple):
    """One forward pass.

    Attributes:
        input_ids: (rows, time) int64.
        attention: What the model's body takes beside them, by name: who sees whom.
        completions: The completions' tokens.
        prompts: The prompts' tokens after the first; None where they are not asked for.
    """

    input_ids: torch.Tensor
    attention: dict[str, Any]
    completions: Scored
    prompts: Scored | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same tensors on `device`."""
        attention = {
            name: value.to(device) if hasattr(value, "to") else value for name, value in self.attention.items()
        }
        prompts = None if self.prompts is None else self.prompts.to(device)
        return Batch(self.input_ids.to(device), attention, self.completions.to(device), prompts)


def padded(sequences: Sequence[TrainingSequence], *, prompts: bool = False, padding_id: int = 0) -> Batch:
    """Sequences as rows of one length; what is at padded places is masked, so any id does.

    Args:
        sequences: At least one, each with at least one prompt token, since something must predict a completion.
        prompts: Whether the prompts' own log-probs are wanted too.
        padding_id: A token.

    Raises:
        TrainingError: A sequence has no prompt token.
    """
    _check_prompts(sequences)
    longest = max(sequence.length for sequence in sequences)
    input_ids = torch.full((len(sequences), longest), padding_id, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for index, sequence in enumerate(sequences):
        ids = np.concatenate([sequence.prompt_token_ids, sequence.completion_token_ids], dtype=np.int64)
        input_ids[index, : sequence.length] = torch.from_numpy(ids)
        attention_mask[index, : sequence.length] = 1
    first = [longest * index for index in range(len(sequences))]
    completions = scored(
        (np.arange(start + len(sequence.prompt_token_ids), start + sequence.length) - 1, sequence.completion_token_ids)
        for start, sequence in zip(first, sequences, strict=True)
    )
    own = scored(
        (np.arange(start, start + len(sequence.prompt_token_ids) - 1), sequence.prompt_token_ids[1:])
        for start, sequence in zip(first, sequences, strict=True)
    )
    return Batch(input_ids, {"attention_mask": attention_mask}, completions, own if prompts else None)


def _check_prompts(sequences: Sequence[TrainingSequence]) -> None:
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
        torch.from_numpy(np.concatenate(targets, dtype=np.int64)),
        torch.arange(len(counts)).repeat_interleave(counts),
        counts,
    )
