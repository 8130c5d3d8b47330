"""Simple preference optimisation."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from losses.checks import require_at_least_zero, require_below, require_one_of, require_positive
from losses.pairs import PairValues, expected_over_labels, pair_output, per_token, policy_logps
from losses.types import LossOutput, PairLogps


@dataclass(frozen=True)
class SimpoConfig:
    """Hyper-parameters of SimPO.

    Attributes:
        beta: above 0. Scale of the mean log-prob difference; 2 to 10 are usual. No reference holds the
            policy, so here a higher beta saturates the loss sooner.
        gamma: at least 0. The margin by which chosen must win; `gamma / beta` between 0.3 and 0.6 is usual.
        gamma_position: `outside`: `beta d - gamma` (the paper, and TRL, which divides gamma by beta first);
            `inside`: `beta (d - gamma)`, gamma in nats a token.
        label_smoothing: in [0, 0.5). The probability that a label is wrong.
    """

    beta: float = 2.0
    gamma: float = 1.0
    gamma_position: str = "outside"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        require_positive(self, beta=self.beta)
        require_at_least_zero(self, gamma=self.gamma)
        require_one_of(self, ("outside", "inside"), gamma_position=self.gamma_position)
        require_below(self, 0.5, label_smoothing=self.label_smoothing)


def simpo(batch: PairLogps, config: SimpoConfig) -> LossOutput:
    """Return `-log sigma(beta (m_chosen - m_rejected) - gamma)` for each pair, m the mean log-prob a token.

    The reward `beta m` is the quantity that generation ranks by, and needs no reference model.

    Args:
        batch: pairs with token counts.
        config: see `SimpoConfig`.

    Raises:
        LossInputError: no token counts, or an empty completion.

    Source: Meng et al. 2024 (arXiv 2405.14734) eq. 6.
    """
    means = per_token(policy_logps(batch), batch)
    offset = config.gamma if config.gamma_position == "outside" else config.beta * config.gamma

    def loss(better: Tensor, worse: Tensor) -> Tensor:
        margin = config.beta * (better - worse) - offset
        return -(1 - config.label_smoothing) * F.logsigmoid(margin) - config.label_smoothing * F.logsigmoid(-margin)

    losses = expected_over_labels(loss, means, batch.chosen_better_probability)
    return pair_output(losses, PairValues(config.beta * means.chosen, config.beta * means.rejected), batch)
