"""Identity preference optimisation: a squared loss with a finite optimum, for labels that are nearly certain."""

from dataclasses import dataclass
from typing import Literal

import torch

from .checks import above_zero, one_of
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .types import PairLogps, PairLossOutput, required, weighted


@dataclass(frozen=True)
class IPOConfig:
    """Hyper-parameters of IPO.

    Attributes:
        beta: Above 0. The margin of log-ratios is drawn to 1 / (2 beta): higher keeps the policy nearer.
        reading: `mean` takes log-ratios a token, as TRL does; `sum` takes them as the paper writes them.
        soft_labels: Use each pair's `chosen_better_probability` p: the margin is then drawn to (p - 1/2) / beta.
    """

    beta: float = 0.1
    reading: Literal["mean", "sum"] = "mean"
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        one_of(("mean", "sum"), reading=self.reading)


def ipo(batch: PairLogps, config: IPOConfig) -> PairLossOutput:
    """(h - 1 / (2 beta))^2 with h = r_w - r_l, for each pair.

    Args:
        batch: Summed log-probs of policy and reference; token counts where the reading is `mean`.
        config: beta, the reading and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, the counts that `mean` needs, or soft labels that are
            asked for.

    Source: Azar et al. (2023), "A general theoretical paradigm", equation 17.
    """
    chosen, rejected = log_ratios(batch, "IPO")
    if config.reading == "mean":
        chosen = chosen / required(batch.chosen_token_counts, "chosen_token_counts", "IPO").clamp(min=1)
        rejected = rejected / required(batch.rejected_token_counts, "rejected_token_counts", "IPO").clamp(min=1)

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return (better - worse - 1.0 / (2.0 * config.beta)) ** 2

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "IPO"))
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
