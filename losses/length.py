"""Length-desensitised log-probs (LD-DPO): tokens beyond the shorter completion's length count less."""

from dataclasses import dataclass, replace

import torch

from .shapes import one_a_row
from .types import PairLogps, required, widened


@dataclass(frozen=True)
class TailLogps:
    """The part of each completion's log-prob that lies beyond the pair's shorter completion.

    Attributes:
        policy_chosen: (batch,) nats, summed; carries the gradient. 0 for the shorter side.
        policy_rejected: (batch,) nats, summed; carries the gradient.
        reference_chosen: (batch,) nats, summed; None where the reference is left as it is.
        reference_rejected: (batch,) nats, summed.
    """

    policy_chosen: torch.Tensor
    policy_rejected: torch.Tensor
    reference_chosen: torch.Tensor | None = None
    reference_rejected: torch.Tensor | None = None


def tail_logps(token_logps: torch.Tensor, mask: torch.Tensor, shared_counts: torch.Tensor) -> torch.Tensor:
    """Sum over each row's completion tokens after the first `shared_counts`: (batch,) nats.

    Args:
        token_logps: (batch, time) nats.
        mask: (batch, time) bool, True at completion tokens.
        shared_counts: (batch,) tokens of the pair's shorter completion.
    """
    position = mask.cumsum(dim=1)
    in_tail = mask & (position > shared_counts[:, None])
    return widened(token_logps).masked_fill(~in_tail, 0.0).sum(dim=1)


def length_desensitised(
    batch: PairLogps, tails: TailLogps, ld_alpha: float, *, reference_too: bool = True
) -> PairLogps:
    """The batch with log-probs of tail tokens scaled by `ld_alpha`, for any method: logps - (1 - ld_alpha) tail.

    Args:
        batch: Summed log-probs.
        tails: The tails' part of them.
        ld_alpha: In [0, 1]. 1 changes nothing; 0 leaves tails out.
        reference_too: Scale the reference's tails as well, as TRL 1.16 does; False scales the policy's alone.

    Raises:
        ValueError: `ld_alpha` is out of range, or shapes differ.
        MissingInputError: The reference is to be scaled and its log-probs or tails are missing.

    Source: Liu et al. (2024), "Length Desensitization in DPO" (arXiv 2409.06411).
    """
    if not 0 <= ld_alpha <= 1:
        raise ValueError(f"ld_alpha must be in [0, 1], not {ld_alpha}.")
    one_a_row("tails", policy_chosen_logps=batch.policy_chosen_logps, **vars(tails))
    removed = 1.0 - ld_alpha
    scaled = replace(
        batch,
        policy_chosen_logps=widened(batch.policy_chosen_logps) - removed * tails.policy_chosen,
        policy_rejected_logps=widened(batch.policy_rejected_logps) - removed * tails.policy_rejected,
    )
    if not reference_too:
        return scaled
    method = "ld_alpha on the reference"
    chosen = required(batch.reference_chosen_logps, "reference_chosen_logps", method)
    rejected = required(batch.reference_rejected_logps, "reference_rejected_logps", method)
    return replace(
        scaled,
        reference_chosen_logps=chosen - removed * required(tails.reference_chosen, "tails.reference_chosen", method),
        reference_rejected_logps=rejected
        - removed * required(tails.reference_rejected, "tails.reference_rejected", method),
    )
