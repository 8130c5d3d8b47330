"""REINFORCE leave-one-out: an answer is worth what it scores above the prompt's other answers; no value head."""

from dataclasses import dataclass

import torch

from .checks import above_zero, at_least_zero
from .ppo import LARGEST_LOG_RATIO
from .rollouts import Credit, RolloutBatch, RolloutLossOutput, Rollouts, penalised_scores
from .types import widened


@dataclass(frozen=True)
class RLOOConfig:
    """Hyper-parameters of RLOO.

    Attributes:
        kl_coefficient: At least 0. Reward taken off an answer for each nat that its log-prob lies above the
            reference's; the part that beta plays elsewhere.
        clip_range: Above 0. The ratio of an answer's probabilities, trained over sampled, is clipped to 1 +- this.
        normalise_advantages: Divide advantages by their spread over all answers of a step, and take off their mean.
    """

    kl_coefficient: float = 0.05
    clip_range: float = 0.2
    normalise_advantages: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        at_least_zero(kl_coefficient=self.kl_coefficient)
        above_zero(clip_range=self.clip_range)


def leave_one_out(rewards: torch.Tensor, samples: int) -> torch.Tensor:
    """Each reward less the mean of the prompt's other ones: (rows,).

    Args:
        rewards: (rows,), those of one prompt behind each other.
        samples: Answers a prompt, at least 2.

    Raises:
        ValueError: There are no others.
    """
    if samples < 2:
        raise ValueError(f"RLOO compares answers to one prompt: it takes at least 2 a prompt, not {samples}.")
    grouped = rewards.view(-1, samples)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (samples - 1)
    return (grouped - others).flatten()


def rloo_credit(rollouts: Rollouts, config: RLOOConfig) -> Credit:
    """The same advantage for every token of an answer: (rows, time).

    Args:
        rollouts: At least 2 answers a prompt.
        config: The KL coefficient, and whether advantages are normalised.

    Raises:
        ValueError: There is one answer a prompt.

    Source: Ahmadian et al. (2024), "Back to Basics" (arXiv 2402.14740), equation 8; the KL penalty in the reward and
    the normalisation as in TRL's RLOOTrainer.
    """
    advantages = leave_one_out(penalised_scores(rollouts, config.kl_coefficient), rollouts.samples)
    if config.normalise_advantages:
        # TRL adds the same, so that equal rewards give 0.
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-4)
    return Credit(advantages[:, None].expand_as(rollouts.mask).masked_fill(~rollouts.mask, 0.0))


def rloo(batch: RolloutBatch, config: RLOOConfig) -> RolloutLossOutput:
    """max(-A rho, -A clip(rho, 1 - c, 1 + c)) for each answer, rho = e^(log pi - log old) of the whole answer: (rows,).

    Where the policy is the one that sampled, its gradient is that of REINFORCE, -A times that of log pi.

    Args:
        batch: Answers; one without a token has loss 0.
        config: The clip range.

    Source: TRL's RLOOTrainer; the paper takes one step from each sampling, where nothing is clipped. The log-ratio
    ends at +-20, so that a wild answer gives a finite loss.
    """
    mask = batch.mask
    change = (widened(batch.token_logps) - widened(batch.old_token_logps).detach()).masked_fill(~mask, 0.0).sum(dim=1)
    ratio = torch.exp(change.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    counts = mask.sum(dim=1).clamp(min=1)
    advantage = batch.advantages.detach().masked_fill(~mask, 0.0).sum(dim=1) / counts
    plain, held = -advantage * ratio, -advantage * ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
    losses = torch.maximum(plain, held)
    return RolloutLossOutput(losses, losses.detach(), (held > plain).detach().to(losses.dtype))
