"""Odds-ratio preference optimisation: supervised learning and preference in one, without a reference."""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from losses.numerics import log_odds
from losses.types import PairLogps, PairLossOutput, as_tensor, required, weighted, widened


@dataclass(frozen=True)
class ORPOConfig:
    """Hyper-parameters of ORPO.

    Attributes:
        lambda_orpo: At least 0. Weight of the odds-ratio term beside the likelihood of chosen.
    """

    lambda_orpo: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 <= self.lambda_orpo < math.inf:
            raise ValueError(f"lambda_orpo must be at least 0 and finite, not {self.lambda_orpo}.")


def orpo(batch: PairLogps, config: ORPOConfig) -> PairLossOutput:
    """NLL(y_w) - lambda log sigma(log odds(y_w) - log odds(y_l)) for each pair.

    The NLL is the mean over chosen's completion tokens (TRL takes it over prompt and completion). The odds are
    those of the mean log-prob a token. Rewards are lambda times the mean log-prob.

    Args:
        batch: Summed log-probs of the policy, and token counts.
        config: lambda.

    Raises:
        MissingInputError: The batch lacks token counts.

    Source: Hong et al. (2024), "ORPO", equations 6 and 7.
    """
    chosen, rejected = mean_logps(batch, "ORPO")
    losses = -chosen + config.lambda_orpo * _odds_ratio_losses(chosen, rejected)
    return PairLossOutput(
        weighted(losses, batch.weights),
        (config.lambda_orpo * chosen).detach(),
        (config.lambda_orpo * rejected).detach(),
    )


def mean_logps(batch: PairLogps, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs a token, chosen then rejected: (batch,) nats; an empty completion counts as one token."""
    chosen = required(batch.chosen_token_counts, "chosen_token_counts", method).clamp(min=1)
    rejected = required(batch.rejected_token_counts, "rejected_token_counts", method).clamp(min=1)
    return widened(batch.policy_chosen_logps) / chosen, widened(batch.policy_rejected_logps) / rejected


def _odds_ratio_losses(chosen_mean_logps: torch.Tensor, rejected_mean_logps: torch.Tensor) -> torch.Tensor:
    return -logsigmoid(log_odds(chosen_mean_logps) - log_odds(rejected_mean_logps))


def orpo_loss(
    policy_chosen_logps: torch.Tensor | list[float],
    policy_rejected_logps: torch.Tensor | list[float],
    sft_loss: torch.Tensor | float,
    lambda_orpo: float = 0.1,
) -> torch.Tensor:
    """ORPO on plain tensors: `sft_loss` plus lambda times the mean odds-ratio loss.

    Args:
        policy_chosen_logps: (batch,) nats, the mean over the completion's tokens, at most 0.
        policy_rejected_logps: (batch,) nats, the mean over the completion's tokens, at most 0.
        sft_loss: () mean negative log-likelihood of the chosen completions.
        lambda_orpo: Weight of the odds-ratio term.
    """
    chosen, rejected = widened(as_tensor(policy_chosen_logps)), widened(as_tensor(policy_rejected_logps))
    return sft_loss + lambda_orpo * _odds_ratio_losses(chosen, rejected).mean()
