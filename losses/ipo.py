"""Identity preference optimisation."""

from dataclasses import dataclass

from torch import Tensor

from losses.checks import require_one_of, require_positive
from losses.pairs import PairValues, expected_over_labels, log_ratios, pair_output, per_token
from losses.types import LossOutput, PairLogps


@dataclass(frozen=True)
class IpoConfig:
    """Hyper-parameters of IPO.

    Attributes:
        beta: above 0 (the paper's tau). The target margin is `1 / (2 beta)`: the higher beta, the smaller
            the margin and the nearer the policy stays to the reference.
        log_ratios: `mean` (a token; the default and TRL's reading) or `sum` (over tokens, the equation as
            printed).
    """

    beta: float = 0.1
    log_ratios: str = "mean"

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        require_positive(self, beta=self.beta)
        require_one_of(self, ("mean", "sum"), log_ratios=self.log_ratios)


def ipo(batch: PairLogps, config: IpoConfig) -> LossOutput:
    """Return `(h - 1 / (2 beta))^2` with `h = r_chosen - r_rejected` for each pair.

    Unlike DPO's, this loss has a finite target margin, so perfectly separable pairs do not push the policy
    away from the reference without bound.

    Args:
        batch: pairs with reference log-probs; token counts where `log_ratios` is `mean`.
        config: see `IpoConfig`.

    Raises:
        LossInputError: no reference log-probs, or no token counts or an empty completion under `mean`.

    Source: Azar et al. 2023 (arXiv 2310.12036) eq. 17. The mean over tokens is TRL's reading, confirmed to its
        authors as what the paper's results used. Rewards are `beta r`, summed, as in TRL.
    """
    ratios = log_ratios(batch)
    compared = per_token(ratios, batch) if config.log_ratios == "mean" else ratios

    def loss(better: Tensor, worse: Tensor) -> Tensor:
        return (better - worse - 1 / (2 * config.beta)) ** 2

    losses = expected_over_labels(loss, compared, batch.chosen_better_probability)
    return pair_output(losses, PairValues(config.beta * ratios.chosen, config.beta * ratios.rejected), batch)
