"""What methods on the policy's own answers are given and give back: answers sampled, scored, then trained on.

Answers are rows, response tokens columns: (rows, time), `mask` True at real tokens; what lies outside it is ignored.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .shapes import one_a_row, one_a_token
from .types import widened


@dataclass(frozen=True)
class Rollouts:
    """Answers as they were sampled.

    Attributes:
        scores: (rows,) what the reward model gives each answer, in units of reward.
        token_logps: (rows, time) nats, under the policy that sampled them.
        reference_token_logps: (rows, time) nats, under the reference.
        mask: (rows, time) bool, True at the answer's own tokens.
        samples: Answers to each prompt; those of one prompt follow each other.
        values: (rows, time) what the value head expected before each token; None for a method without one.
    """

    scores: torch.Tensor
    token_logps: torch.Tensor
    reference_token_logps: torch.Tensor
    mask: torch.Tensor
    samples: int = 1
    values: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for tensors of different shapes, and for rows that are no whole number of prompts."""
        one_a_token(
            "rollouts",
            token_logps=self.token_logps,
            reference_token_logps=self.reference_token_logps,
            mask=self.mask,
            values=self.values,
        )
        one_a_row("rollouts", scores=self.scores, rows_of_token_logps=self.token_logps[:, 0])
        if self.samples < 1 or len(self.scores) % self.samples:
            raise ValueError(
                f"rollouts: {len(self.scores)} rows are no whole number of prompts at {self.samples} each."
            )


class Credit(NamedTuple):
    """What each token is worth.

    Attributes:
        advantages: (rows, time) units of reward, or whitened; no gradient.
        returns: (rows, time) what the value head should have expected, units of reward; None without one.
    """

    advantages: torch.Tensor
    returns: torch.Tensor | None = None


@dataclass(frozen=True)
class RolloutBatch:
    """A part of the rollouts under the policy that is trained.

    Attributes:
        token_logps: (rows, time) nats; carries the gradient.
        old_token_logps: (rows, time) nats, under the policy that sampled.
        advantages: (rows, time), of `Credit`.
        mask: (rows, time) bool.
        values: (rows, time) the value head's predictions; carries the gradient; None without one.
        old_values: (rows, time) its predictions when the answers were sampled; None likewise.
        returns: (rows, time) its targets, of `Credit`; None likewise.
    """

    token_logps: torch.Tensor
    old_token_logps: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor
    values: torch.Tensor | None = None
    old_values: torch.Tensor | None = None
    returns: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for tensors of different shapes."""
        one_a_token("rollouts", **vars(self))


@dataclass(frozen=True)
class RolloutLossOutput:
    """Results a row; whoever trains divides sums by tokens or by rows, as the method's description says.

    Attributes:
        losses: (rows,) the row's loss, summed over its tokens where the mean is one over tokens; carries the gradient.
        policy_losses: (rows,) the policy's part of it, likewise; no gradient.
        value_losses: (rows,) the value head's losses, summed over tokens, before their coefficient; None without one.
        clipped: (rows,) of what is averaged over, tokens or the row, how many the clipping held; no gradient.
    """

    losses: torch.Tensor
    policy_losses: torch.Tensor
    clipped: torch.Tensor
    value_losses: torch.Tensor | None = None


def penalised_scores(rollouts: Rollouts, kl_coefficient: float) -> torch.Tensor:
    """Score less kl_coefficient (log pi - log ref) of the whole answer: (rows,) units of reward, no gradient.

    Its mean over answers of the policy is what all methods on rollouts raise.

    Args:
        rollouts: Answers.
        kl_coefficient: Of the method.
    """
    gap = widened(rollouts.token_logps) - widened(rollouts.reference_token_logps)
    return (widened(rollouts.scores) - kl_coefficient * gap.masked_fill(~rollouts.mask, 0.0).sum(dim=1)).detach()
