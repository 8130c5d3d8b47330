"""Odds-ratio preference optimisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.checks import require_at_least_zero
from losses.numerics import at_least_float32, log_odds
from losses.pairs import PairValues, expected_over_labels, pair_output, per_token, policy_logps
from losses.sft import SftConfig, chosen_nll
from losses.types import LossOutput, PairLogps


@dataclass(frozen=True)
class OrpoConfig:
    """Hyper-parameters of ORPO.

    Attributes:
        lambda_orpo: at least 0 (TRL calls it beta). Weight of the odds-ratio term beside the NLL; 0.1 is
            usual. There is no reference: a higher value separates chosen from rejected harder.
        nll_tokens: `completion`, or `prompt_and_completion` (TRL's reading, and the authors' code).
        nll_mean: `example`, or `batch` (TRL's reading); see `SftConfig`.
    """

    lambda_orpo: float = 0.1
    nll_tokens: str = "completion"
    nll_mean: str = "example"

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        require_at_least_zero(self, lambda_orpo=self.lambda_orpo)
        self.sft_config()

    def sft_config(self) -> SftConfig:
        """Return the settings of the NLL term."""
        return SftConfig(nll_tokens=self.nll_tokens, nll_mean=self.nll_mean)


def orpo(batch: PairLogps, config: OrpoConfig) -> LossOutput:
    """Return `NLL(chosen) - lambda log sigma(log odds(chosen) - log odds(rejected))` for each pair.

    `log odds = m - log(1 - e^m)` of the mean log-prob m. One phase does both fine-tuning and alignment, and
    needs no reference model. Rewards are `lambda m`.

    Args:
        batch: pairs with token counts; `chosen_better_probability` acts on the odds-ratio term.
        config: see `OrpoConfig`.

    Raises:
        LossInputError: no token counts, an empty completion, or no prompt log-probs where they are covered.

    Source: Hong et al. 2024 (arXiv 2403.07691) eq. 6 and 7. Deviation: a mean log-prob within 1.2e-7 of 0 is
        taken as that far from it, see `log1mexp`.
    """
    means = per_token(policy_logps(batch), batch)
    odds_losses = expected_over_labels(odds_ratio_losses, means, batch.chosen_better_probability)
    nll = chosen_nll(batch, config.sft_config())
    rewards = PairValues(config.lambda_orpo * means.chosen, config.lambda_orpo * means.rejected)
    metrics = {
        "nll": nll.mean(),
        "log_odds_ratio": (log_odds(means.chosen) - log_odds(means.rejected)).mean(),
    }
    return pair_output(nll + config.lambda_orpo * odds_losses, rewards, batch, metrics)


def odds_ratio_losses(better_mean_logps: Tensor, worse_mean_logps: Tensor) -> Tensor:
    """Return `-log sigma` of the log odds ratio, (batch,), from mean log-probs in nats a token."""
    return -F.logsigmoid(log_odds(better_mean_logps) - log_odds(worse_mean_logps))


def orpo_loss(
    policy_chosen_logps: Tensor | Sequence[float],
    policy_rejected_logps: Tensor | Sequence[float],
    sft_loss: Tensor | float,
    lambda_orpo: float = 0.1,
) -> Tensor:
    """Return the ORPO loss, (), from plain tensors.

    Args:
        policy_chosen_logps: (batch,) floating, nats a token: MEANS over the completion, at most 0.
        policy_rejected_logps: as `policy_chosen_logps`.
        sft_loss: () or (batch,), nats a token: the NLL of the chosen completions.
        lambda_orpo: see `OrpoConfig`.
    """
    require_at_least_zero(OrpoConfig(), lambda_orpo=lambda_orpo)
    chosen = at_least_float32(torch.as_tensor(policy_chosen_logps))
    rejected = at_least_float32(torch.as_tensor(policy_rejected_logps))
    return torch.as_tensor(sft_loss).mean() + lambda_orpo * odds_ratio_losses(chosen, rejected).mean()
