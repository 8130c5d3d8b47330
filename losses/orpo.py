"""Odds-ratio preference optimisation: supervised learning and preference in one, without a reference."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from .checks import at_least_zero, one_of
from .labels import expected_over_labels, soft_labels
from .numerics import log_odds
from .shapes import one_a_row
from .types import PairLogps, PairLossOutput, as_tensor, required, weighted, widened


@dataclass(frozen=True)
class ORPOConfig:
    """Hyper-parameters of ORPO.

    Attributes:
        lambda_orpo: At least 0. Weight of the odds-ratio term beside the likelihood of chosen (TRL's `beta`).
        nll_over: `chosen`: tokens of the chosen completion; `prompt_and_chosen` (TRL, and the authors' code): what
            the batch holds as `prompt_chosen_nll`.
        soft_labels: Use each pair's `chosen_better_probability` as its label, in the odds-ratio term.
    """

    lambda_orpo: float = 0.1
    nll_over: Literal["chosen", "prompt_and_chosen"] = "chosen"
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        at_least_zero(lambda_orpo=self.lambda_orpo)
        one_of(("chosen", "prompt_and_chosen"), nll_over=self.nll_over)


def orpo(batch: PairLogps, config: ORPOConfig) -> PairLossOutput:
    """NLL(y_w) - lambda log sigma(log odds(y_w) - log odds(y_l)) for each pair.

    The NLL is a mean over each pair's own tokens (TRL's is over all tokens of a batch). The odds are those of the
    mean log-prob a token. Rewards are lambda times the mean log-prob.

    Args:
        batch: Summed log-probs of the policy, and token counts.
        config: lambda, the likelihood's tokens and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks token counts, the prompt's likelihood or soft labels that are asked for.

    Source: Hong et al. (2024), "ORPO", equations 6 and 7.
    """
    chosen, rejected = mean_logps(batch, "ORPO")
    nll = -chosen
    if config.nll_over == "prompt_and_chosen":
        nll = required(batch.prompt_chosen_nll, "prompt_chosen_nll", "ORPO with nll_over: prompt_and_chosen")
    probability = soft_labels(batch, config.soft_labels, "ORPO")
    losses = nll + config.lambda_orpo * expected_over_labels(_odds_ratio_losses, chosen, rejected, probability)
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

    Raises:
        ValueError: Shapes differ, or `sft_loss` is more than one number.
    """
    chosen, rejected = widened(as_tensor(policy_chosen_logps)), widened(as_tensor(policy_rejected_logps))
    one_a_row("ORPO", policy_chosen_logps=chosen, policy_rejected_logps=rejected)
    if isinstance(sft_loss, torch.Tensor) and sft_loss.dim() > 0:
        raise ValueError(
            f"ORPO: sft_loss is the mean over all chosen completions, one number, not {tuple(sft_loss.shape)}."
        )
    return sft_loss + lambda_orpo * _odds_ratio_losses(chosen, rejected).mean()
