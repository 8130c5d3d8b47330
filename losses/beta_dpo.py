"""DPO whose beta follows each batch's margins, and which leaves out pairs whose margin is unlike the others'."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from .checks import above_zero, at_least_zero
from .dpo import log_ratios
from .labels import expected_over_labels, soft_labels
from .running import MovingMoments
from .types import PairLogps, PairLossOutput, weighted

# The authors' code lets beta fall no lower.
_LOWEST_BETA = 1e-3


@dataclass(frozen=True)
class BetaDPOConfig:
    """Hyper-parameters of beta-DPO.

    Attributes:
        beta: Above 0. The beta of a batch whose margins are as those before. Rewards are multiplied by it.
        alpha: At least 0. Beta grows by this share for each nat that the batch's mean margin lies above the mean of
            those before; 0 leaves it as it is. The paper uses 0.6.
        filtered: In [0, 1): share of a batch's pairs that are left out by chance, those far from the mean margin first.
            Takes `PairLogps.row_draws`, which training gives and evaluation does not.
        update_share: In (0, 1]: share of each new batch in the moving mean and deviation of margins.
        soft_labels: Use each pair's `chosen_better_probability` as its label.
    """

    beta: float = 0.1
    alpha: float = 0.6
    filtered: float = 0.2
    update_share: float = 0.1
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(alpha=self.alpha)
        if not 0 <= self.filtered < 1:
            raise ValueError(f"filtered must be in [0, 1), not {self.filtered}.")
        if not 0 < self.update_share <= 1:
            raise ValueError(f"update_share must be in (0, 1], not {self.update_share}.")


def beta_dpo(batch: PairLogps, config: BetaDPOConfig) -> PairLossOutput:
    """-log sigma(b (r_w - r_l)) for each kept pair, b = beta (1 + alpha (mean margin - M)); 0 for one that is left out.

    A pair's margin is r_w - r_l in nats, without a gradient; M is the moving mean of margins, this batch in it. Kept
    are (1 - filtered) of the pairs, drawn without replacement with odds exp(-(margin - M)^2 / (2 s^2)), s the moving
    deviation. The mean margin is that of kept pairs, whose losses are scaled so that the mean over the batch is theirs.

    Args:
        batch: Summed log-probs of policy and reference; `seen_margins` of the batches before, else this one's alone;
            `row_draws`, else no pair is left out.
        config: beta, how it follows margins, and the share that is left out.

    Raises:
        MissingInputError: The batch lacks reference log-probs, or soft labels that are asked for.

    Source: Wu et al. (2024), "beta-DPO" (arXiv 2407.08639), equations 6 to 9, and its code: margins there are not yet
    multiplied by beta, and beta ends at 0.001. Moving moments begin with the first batch's own there at 0, which is its
    mean where the policy begins as the reference.
    """
    chosen, rejected = log_ratios(batch, "beta-DPO")
    margins = (chosen - rejected).detach()
    moments = (batch.seen_margins or MovingMoments()).updated(margins, config.update_share)
    kept = _kept(margins, moments, batch.row_draws, config.filtered)
    beta = config.beta
    if margins.numel() and moments.mean is not None:
        # Not by picking rows: their number would hang on values, which a plan's step on shapes does not have.
        above = float((margins * kept).sum() / kept.sum()) - moments.mean
        beta = max(_LOWEST_BETA, config.beta * (1 + config.alpha * above))

    def loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(beta * (better - worse))

    losses = expected_over_labels(loss, chosen, rejected, soft_labels(batch, config.soft_labels, "beta-DPO"))
    losses = losses * (kept.to(losses) * (kept.numel() / kept.sum().clamp(min=1)))
    rewards = (config.beta * chosen).detach(), (config.beta * rejected).detach()
    return PairLossOutput(weighted(losses, batch.weights), *rewards, margin_moments=moments)


def _kept(margins: torch.Tensor, moments: MovingMoments, draws: torch.Tensor | None, filtered: float) -> torch.Tensor:
    """(batch,) bool: which pairs count; at least one."""
    count = max(1, int(len(margins) * (1 - filtered)))
    if draws is None or count >= len(margins):
        return torch.ones_like(margins, dtype=torch.bool)
    log_odds = torch.zeros_like(margins)
    if moments.mean is not None and moments.deviation > 0:
        log_odds = -0.5 * ((margins - moments.mean) / moments.deviation).square()
    # The largest of log odds plus Gumbel noise are a draw without replacement (Efraimidis and Spirakis, 2006).
    noise = -torch.log(-torch.log(draws.to(margins).clamp(1e-12, 1 - 1e-7)))
    kept = torch.zeros_like(margins, dtype=torch.bool)
    kept[torch.topk(log_odds + noise, count).indices] = True
    return kept
