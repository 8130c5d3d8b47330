"""Token sequences as one forward pass: padded to one length, or packed into a row in which prompts may be shared."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from .attention.segments import Kept
from .forward import Batch, check_prompts, int64, scored
from .packing import hung, packed, packed_tokens
from .rows import TrainingSequence

Layout = Literal["padded", "packed", "shared"]


class Arranged(NamedTuple):
    """What a model is given.

    Attributes:
        batch: Sequences whose log-probs carry a gradient.
        partners: Sequences that are measured after them; None where there are none.
    """

    batch: Batch
    partners: Batch | None


def arranged(
    sequences: Sequence[TrainingSequence],
    layout: Layout,
    *,
    prompts: bool = False,
    partners: Sequence[TrainingSequence] = (),
) -> Arranged:
    """Sequences in a layout.

    Args:
        sequences: At least one, each with at least one prompt token.
        layout: `padded`; `packed`, in one row; or `shared`, in one row with equal prompts there once.
        prompts: Whether the prompts' own log-probs are wanted too.
        partners: Further sequences; where prompts are shared, also theirs are.

    Raises:
        TrainingError: A sequence has no prompt token.
    """
    if layout == "padded":
        return Arranged(padded(sequences, prompts=prompts), padded(partners) if partners else None)
    share = layout == "shared"
    keeps = Kept() if partners and share else None
    row = packed(sequences, share=share, prompts=prompts, keeps=keeps)
    if keeps is not None:
        return Arranged(row.batch, hung(partners, row, keeps))
    return Arranged(row.batch, packed(partners, share=share).batch if partners else None)


def computed_tokens(sequences: Sequence[TrainingSequence], layout: Layout) -> int:
    """Tokens that the model computes for sequences in one forward pass, padding included.

    Args:
        sequences: At least one.
        layout: How they are arranged.
    """
    if layout == "padded":
        return len(sequences) * max(sequence.length for sequence in sequences)
    return packed_tokens(sequences, share=layout == "shared")


def padded(sequences: Sequence[TrainingSequence], *, prompts: bool = False, padding_id: int = 0) -> Batch:
    """Sequences as rows of one length; what is at padded places is masked, so any id does.

    Args:
        sequences: At least one, each with at least one prompt token, since something must predict a completion.
        prompts: Whether the prompts' own log-probs are wanted too.
        padding_id: A token.

    Raises:
        TrainingError: A sequence has no prompt token.
    """
    check_prompts(sequences)
    longest = max(sequence.length for sequence in sequences)
    input_ids = torch.full((len(sequences), longest), padding_id, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for index, sequence in enumerate(sequences):
        ids = np.concatenate([int64(sequence.prompt_token_ids), int64(sequence.completion_token_ids)])
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
