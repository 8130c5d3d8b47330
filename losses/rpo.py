"""DPO with the likelihood of chosen beside it (RPO): chosen may not fall while the margin grows."""

from dataclasses import dataclass

from .checks import above_zero, at_least_zero, below_half, one_trust
from .dpo import DPOConfig, dpo
from .types import PairLogps, PairLossOutput, required, weighted, widened


@dataclass(frozen=True)
class RPOConfig:
    """Hyper-parameters of RPO.

    Attributes:
        beta: Above 0. Higher keeps the policy nearer the reference.
        alpha: At least 0. Weight of chosen's mean negative log-likelihood a token; 0 is DPO, the paper uses 1.
        label_smoothing: In [0, 0.5): the share of pairs whose label is taken to be wrong, in the DPO term.
        soft_labels: Use each pair's `chosen_better_probability` as its label, in the DPO term.
    """

    beta: float = 0.1
    alpha: float = 1.0
    label_smoothing: float = 0.0
    soft_labels: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        above_zero(beta=self.beta)
        at_least_zero(alpha=self.alpha)
        below_half(label_smoothing=self.label_smoothing)
        one_trust(self.label_smoothing, self.soft_labels)


def rpo(batch: PairLogps, config: RPOConfig) -> PairLossOutput:
    """The DPO loss plus alpha times -log pi(y_w) / n_w for each pair, n_w chosen's tokens.

    The likelihood is averaged within each pair, as the paper writes it; TRL's `sft` term averages over all tokens
    of a batch. The two agree where chosen completions are equally long.

    Args:
        batch: Summed log-probs of policy and reference, and chosen's token counts.
        config: beta, alpha and how labels are trusted.

    Raises:
        MissingInputError: The batch lacks reference log-probs, counts, or soft labels that are asked for.

    Source: Pang et al. (2024), "Iterative Reasoning Preference Optimization" (arXiv 2404.19733), equation 1.
    """
    settings = DPOConfig(beta=config.beta, label_smoothing=config.label_smoothing, soft_labels=config.soft_labels)
    preference = dpo(batch, settings)
    counts = required(batch.chosen_token_counts, "chosen_token_counts", "RPO").clamp(min=1)
    likelihood = weighted(-widened(batch.policy_chosen_logps) / counts, batch.weights)
    return PairLossOutput(
        preference.losses + config.alpha * likelihood, preference.chosen_rewards, preference.rejected_rewards
    )
