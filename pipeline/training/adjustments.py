"""What may be done to a batch of pairs before any method sees it: WPO's weights and LD-DPO's shorter tails."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from thumbline.losses import PairLogps
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


def _tail(sequence: TrainingSequence, shared: int) -> float:
    if sequence.reference_token_logps is None:
        raise TrainingError(
            f"train.ld_alpha: the reference's log-probs of single tokens are not stored for sequence "
            f"{sequence.sequence_id}. Set reference.token_logps to true and run the reference stage again."
        )
    return float(sequence.reference_token_logps[shared:].sum(dtype="float64"))
