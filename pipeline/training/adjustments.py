"""What may be done to a batch before any method sees it: WPO's weights, LD-DPO's shorter tails, clipped ratios."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from thumbline.losses import PairLogps
from thumbline.losses.humanline import clipped_log_ratios
from thumbline.losses.length import TailLogps, length_desensitised, tail_logps
from thumbline.losses.logps import TokenLogps
from thumbline.losses.wpo import wpo_weights

from ..errors import TrainingError
from .rows import PairRow, TrainingSequence


def policy_weights(batch: PairLogps, tokens: TokenLogps) -> PairLogps:
    """The batch with each pair's weight times that of weighted preference optimisation.

    Args:
        batch: Pairs.
        tokens: The policy's log-probs of their completion tokens, of all chosen sides and then of all rejected ones.
    """
    aligned = (tokens.logps.detach() - tokens.log_sum_squares).sum(dim=1) / tokens.mask.sum(dim=1).clamp(min=1)
    weights = wpo_weights(*aligned.chunk(2))
    return replace(batch, weights=weights if batch.weights is None else batch.weights * weights)


def desensitised(batch: PairLogps, tokens: TokenLogps, pairs: Sequence[PairRow], ld_alpha: float) -> PairLogps:
    """The batch with log-probs of tokens beyond each pair's shorter completion scaled by `ld_alpha`.

    Args:
        batch: Pairs, with token counts.
        tokens: The policy's log-probs of their completion tokens, of all chosen sides and then of all rejected ones.
        pairs: The same pairs; where the batch has reference log-probs, with those of single tokens.
        ld_alpha: In [0, 1].

    Raises:
        TrainingError: The reference's log-probs of single tokens are not there.
    """
    lengths = tokens.mask.sum(dim=1).chunk(2)
    shared = torch.minimum(*lengths)
    chosen, rejected = tail_logps(tokens.logps, tokens.mask, shared.repeat(2)).chunk(2)
    if batch.reference_chosen_logps is None:
        return length_desensitised(batch, TailLogps(chosen, rejected), ld_alpha, reference_too=False)
    sides = [[row.chosen for row in pairs], [row.rejected for row in pairs]]
    reference = [
        torch.tensor(
            [_tail(sequence, count) for sequence, count in zip(side, shared.tolist(), strict=True)],
            device=chosen.device,
        )
        for side in sides
    ]
    return length_desensitised(batch, TailLogps(chosen, rejected, *reference), ld_alpha)


class Bounds(NamedTuple):
    """What each token's log-ratio to the reference is clipped to, nats."""

    floor: float
    ceiling: float


def clipped_logps(tokens: TokenLogps, sequences: Sequence[TrainingSequence], bounds: Bounds) -> torch.Tensor:
    """(sequences,) float64 nats: the reference's log-probs plus the policy's clipped log-ratios to it.

    Args:
        tokens: The policy's log-probs of completion tokens.
        sequences: The same sequences, with the reference's.
        bounds: What ratios are clipped to.

    Raises:
        TrainingError: The reference's log-probs of single tokens are not there.
    """
    reference = torch.zeros(tokens.mask.shape, dtype=torch.float64)
    for row, sequence in enumerate(sequences):
        values = sequence.reference_token_logps
        if values is None:
            raise TrainingError(
                f"train.ratio_floor: the reference's log-probs of single tokens are not stored for sequence "
                f"{sequence.sequence_id}. Set reference.token_logps to true and run the reference stage again."
            )
        reference[row, : len(values)] = torch.from_numpy(values.astype("float64"))
    reference = reference.to(tokens.logps.device)
    return reference.sum(dim=1) + clipped_log_ratios(tokens.logps, reference, tokens.mask, *bounds)


def _tail(sequence: TrainingSequence, shared: int) -> float:
    if sequence.reference_token_logps is None:
        raise TrainingError(
            f"train.ld_alpha: the reference's log-probs of single tokens are not stored for sequence "
            f"{sequence.sequence_id}. Set reference.token_logps to true and run the reference stage again."
        )
    return float(sequence.reference_token_logps[shared:].sum(dtype="float64"))
