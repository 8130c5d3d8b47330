"""Proximal policy optimisation: shaped rewards, advantages, and the clipped losses of policy and value head.

All tensors are (batch, time) over response tokens, `mask` True at real ones; what lies outside the mask is ignored and
comes back as 0. Per-token losses come back; the caller averages over the mask (`masked_mean`). Other shapes are a
ValueError that names them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .checks import above_zero, at_least_zero
from .rollouts import Credit, RolloutBatch, RolloutLossOutput, Rollouts
from .shapes import one_a_row, one_a_token
from .types import required, widened

# e^20 = 4.9e8: a ratio so far from 1 is clipped or an error anyway, and stays finite in float32.
LARGEST_LOG_RATIO = 20.0


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO.

    Attributes:
        kl_coefficient: At least 0. Reward taken off for each nat a token's log-prob lies above the reference's; the
            part that beta plays elsewhere.
        clip_range: Above 0. The policy's ratio is clipped to 1 +- this.
        value_clip_range: Above 0. A new value is clipped to within this of the old one.
        discount: In [0, 1]. Gamma.
        trace_decay: In [0, 1]. Lambda of generalised advantage estimation.
        value_coefficient: At least 0. Weight of the value head's loss beside the policy's.
        whiten_rewards: Divide the shaped rewards of a step by their spread; their mean stays.
        whiten_advantages: Give the advantages of a step mean 0 and variance 1.
    """

    kl_coefficient: float = 0.05
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    discount: float = 1.0
    trace_decay: float = 0.95
    value_coefficient: float = 0.1
    whiten_rewards: bool = False
    whiten_advantages: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        at_least_zero(kl_coefficient=self.kl_coefficient, value_coefficient=self.value_coefficient)
        above_zero(clip_range=self.clip_range, value_clip_range=self.value_clip_range)
        for name in ("discount", "trace_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}.")


class Advantages(NamedTuple):
    """What generalised advantage estimation gives.

    Attributes:
        advantages: (batch, time) units of reward, no gradient.
        returns: (batch, time) advantages plus values, the value head's targets; no gradient.
    """

    advantages: torch.Tensor
    returns: torch.Tensor


def ppo_credit(rollouts: Rollouts, config: PPOConfig) -> Credit:
    """Advantages and returns of sampled answers.

    Args:
        rollouts: With the value head's predictions.
        config: The KL coefficient, discount and trace decay, and what is whitened.

    Raises:
        MissingInputError: The rollouts hold no values.
    """
    values, mask = required(rollouts.values, "values", "PPO"), rollouts.mask
    rewards = shaped_rewards(rollouts.scores, rollouts.token_logps, rollouts.reference_token_logps, mask, config)
    if config.whiten_rewards:
        rewards = (whitened(rewards, mask) + masked_mean(rewards, mask)).masked_fill(~mask, 0.0)
    advantages, returns = generalised_advantages(rewards, values, mask, config)
    return Credit(whitened(advantages, mask) if config.whiten_advantages else advantages, returns)


def ppo(batch: RolloutBatch, config: PPOConfig) -> RolloutLossOutput:
    """The policy's clipped loss plus `value_coefficient` times the value head's, summed over tokens: (rows,).

    Args:
        batch: Answers, with the value head's predictions then and now, and its targets.
        config: The clip ranges and the coefficient.

    Raises:
        MissingInputError: The batch lacks one of them.

    Source: Schulman et al. (2017), arXiv 1707.06347, equation 9, without its bonus for entropy.
    """
    tensors = (batch.values, batch.old_values, batch.returns)
    values, old, returns = (
        required(tensor, name, "PPO") for tensor, name in zip(tensors, ("values", "old_values", "returns"), strict=True)
    )
    policy = policy_losses(batch.token_logps, batch.old_token_logps, batch.advantages, batch.mask, config).sum(dim=1)
    value = value_losses(values, old, returns, batch.mask, config).sum(dim=1)
    return RolloutLossOutput(
        policy + config.value_coefficient * value, policy.detach(), _clipped(batch, config), value.detach()
    )


def _clipped(batch: RolloutBatch, config: PPOConfig) -> torch.Tensor:
    """(rows,) tokens whose ratio the clipping held."""
    change = (widened(batch.token_logps) - widened(batch.old_token_logps)).detach()
    far = torch.where(batch.advantages > 0, change.exp() > 1 + config.clip_range, change.exp() < 1 - config.clip_range)
    return (far & batch.mask & (batch.advantages != 0)).to(change.dtype).sum(dim=1)


def shaped_rewards(
    scores: torch.Tensor,
    token_logps: torch.Tensor,
    reference_token_logps: torch.Tensor,
    mask: torch.Tensor,
    config: PPOConfig,
) -> torch.Tensor:
    """-kl_coefficient (log pi - log ref) at each token, plus the sequence's score at its last one: (batch, time).

    Args:
        scores: (batch,) the reward model's score of each response.
        token_logps: (batch, time) nats, under the policy that sampled.
        reference_token_logps: (batch, time) nats, under the reference.
        mask: (batch, time) bool. A row without tokens gets no score.
        config: The KL coefficient.

    Source: Ouyang et al. (2022), InstructGPT (arXiv 2203.02155), equation 2.
    """
    one_a_token("PPO", token_logps=token_logps, reference_token_logps=reference_token_logps, mask=mask)
    one_a_row("PPO", scores=scores, rows_of_token_logps=token_logps[:, 0])
    gap = (widened(token_logps) - widened(reference_token_logps)).masked_fill(~mask, 0.0)
    remaining = mask.flip(1).cumsum(1).flip(1)
    last = mask & (remaining == 1)
    return (widened(scores)[:, None] * last - config.kl_coefficient * gap).detach()


def generalised_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, config: PPOConfig
) -> Advantages:
    """A_t = delta_t + gamma lambda A_(t+1), delta_t = reward_t + gamma V_(t+1) - V_t, over each row's own tokens.

    Args:
        rewards: (batch, time) shaped rewards.
        values: (batch, time) the old value head's predictions.
        mask: (batch, time) bool; a row's tokens may lie apart, the next one is the next True.
        config: discount and trace decay.

    Source: Schulman et al. (2015), "Generalized Advantage Estimation" (arXiv 1506.02438), equation 16.
    """
    one_a_token("PPO", rewards=rewards, values=values, mask=mask)
    rewards, values = widened(rewards).detach(), widened(values).detach()
    advantages = torch.zeros_like(rewards)
    following_advantage, following_value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for time in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, time] + config.discount * following_value - values[:, time]
        advantage = delta + config.discount * config.trace_decay * following_advantage
        real = mask[:, time]
        advantages[:, time] = torch.where(real, advantage, 0.0)
        following_advantage = torch.where(real, advantage, following_advantage)
        following_value = torch.where(real, values[:, time], following_value)
    return Advantages(advantages, (advantages + values).masked_fill(~mask, 0.0))


def whitened(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Advantages with mean 0 and variance 1 over the mask: (batch, time), 0 outside it.

    Args:
        advantages: (batch, time).
        mask: (batch, time) bool. One token, or equal ones, come back as 0.
    """
    mean = masked_mean(advantages, mask)
    centred = (advantages - mean).masked_fill(~mask, 0.0)
    variance = masked_mean(centred**2, mask)
    return centred * torch.rsqrt(variance + torch.finfo(centred.dtype).eps)


def policy_losses(
    token_logps: torch.Tensor,
    old_token_logps: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    config: PPOConfig,
) -> torch.Tensor:
    """max(-A rho, -A clip(rho, 1 - c, 1 + c)) at each token, rho = e^(log pi - log old): (batch, time).

    Args:
        token_logps: (batch, time) nats; carries the gradient.
        old_token_logps: (batch, time) nats, under the policy that sampled.
        advantages: (batch, time).
        mask: (batch, time) bool.
        config: The clip range.

    Source: Schulman et al. (2017), "Proximal Policy Optimization" (arXiv 1707.06347), equation 7. The log-ratio ends
    at +-20, so that a wild token gives a finite loss.
    """
    one_a_token("PPO", token_logps=token_logps, old_token_logps=old_token_logps, advantages=advantages, mask=mask)
    change = (widened(token_logps) - widened(old_token_logps).detach()).masked_fill(~mask, 0.0)
    ratio = torch.exp(change.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    advantage = advantages.detach().masked_fill(~mask, 0.0)
    clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
    return torch.maximum(-advantage * ratio, -advantage * clipped)


def value_losses(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, config: PPOConfig
) -> torch.Tensor:
    """1/2 max((V - R)^2, (clip(V, old +- c) - R)^2) at each token: (batch, time).

    Args:
        values: (batch, time) the value head's predictions; carries the gradient.
        old_values: (batch, time) its predictions when the responses were sampled.
        returns: (batch, time) its targets.
        mask: (batch, time) bool.
        config: The value clip range.

    Source: the PPO2 implementation of OpenAI's baselines; the paper (arXiv 1707.06347, equation 9) leaves it unclipped.
    """
    one_a_token("PPO", values=values, old_values=old_values, returns=returns, mask=mask)
    # Masked before anything is computed: 0 times the slope of a square at NaN or infinity would be NaN.
    new, old, target = (
        side.masked_fill(~mask, 0.0) for side in (widened(values), old_values.detach(), returns.detach())
    )
    clipped = old + (new - old).clamp(-config.value_clip_range, config.value_clip_range)
    return 0.5 * torch.maximum((new - target) ** 2, (clipped - target) ** 2)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the mask: (); 0 where the mask is empty.

    Args:
        values: (batch, time).
        mask: (batch, time) bool.
    """
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
