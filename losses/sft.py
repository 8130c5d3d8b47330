"""Supervised fine-tuning: the likelihood of desirable answers alone, the first phase of RLHF and a baseline."""

from dataclasses import dataclass
from typing import Literal

import torch

from .checks import one_of
from .types import UnpairedLogps, UnpairedLossOutput, required, weighted, widened


@dataclass(frozen=True)
class SFTConfig:
    """Hyper-parameters of SFT.

    Attributes:
        nll: `mean`: over each answer's own tokens, so that answers count alike; `sum`: tokens count alike, as in a mean
            over all tokens of a batch.
    """

    nll: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        one_of(("mean", "sum"), nll=self.nll)


def sft(batch: UnpairedLogps, config: SFTConfig) -> UnpairedLossOutput:
    """-log p(y) for desirable rows, a token or in all, and 0 for undesirable ones.

    The reward is that log-prob, of either label: there is no reference to hold it against. The reference point is 0.

    Args:
        batch: Summed log-probs of the policy, labels, and for the mean token counts.
        config: What counts alike.

    Raises:
        MissingInputError: The batch lacks token counts that are asked for.

    Source: Ouyang et al. (2022), "Training language models to follow instructions with human feedback", section 3.5,
    on logged answers that were liked in place of written ones. TRL's mean is over all tokens of a batch, which is
    `nll: sum` over a constant.
    """
    logps = widened(batch.policy_logps)
    if config.nll == "mean":
        # An empty completion counts as one token.
        logps = logps / required(batch.token_counts, "token_counts", "SFT").clamp(min=1)
    losses = torch.where(batch.labels, -logps, torch.zeros_like(logps))
    return UnpairedLossOutput(weighted(losses, batch.weights), logps.detach(), logps.new_zeros(()).detach())
