"""Identity preference optimisation: a squared loss with a finite optimum, for labels that are nearly certain."""

import math
from dataclasses import dataclass
from typing import Literal

from losses.dpo import log_ratios
from losses.types import PairLogps, PairLossOutput, required, weighted


@dataclass(frozen=True)
class IPOConfig:
    """Hyper-parameters of IPO.

    Attributes:
        beta: Above 0. The margin of log-ratios is drawn to 1 / (2 beta): higher keeps the policy nearer.
        reading: `mean` takes log-ratios a token, as TRL does; `sum` takes them as the paper writes them.
    """

    beta: float = 0.1
    reading: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, not {self.beta}.")
        if self.reading not in ("mean", "sum"):
            raise ValueError(f"reading must be 'mean' or 'sum', not '{self.reading}'.")


def ipo(batch: PairLogps, config: IPOConfig) -> PairLossOutput:
    """(h - 1 / (2 beta))^2 with h = r_w - r_l, for each pair.

    Args:
        batch: Summed log-probs of policy and reference; token counts where the reading is `mean`.
        config: beta and the reading.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or the counts that `mean` needs.

    Source: Azar et al. (2023), "A general theoretical paradigm", equation 17.
    """
    chosen, rejected = log_ratios(batch, "IPO")
    if config.reading == "mean":
        chosen = chosen / required(batch.chosen_token_counts, "chosen_token_counts", "IPO").clamp(min=1)
        rejected = rejected / required(batch.rejected_token_counts, "rejected_token_counts", "IPO").clamp(min=1)
    losses = (chosen - rejected - 1.0 / (2.0 * config.beta)) ** 2
    return PairLossOutput(
        weighted(losses, batch.weights), (config.beta * chosen).detach(), (config.beta * rejected).detach()
    )
