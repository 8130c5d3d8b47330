"""Direct preference optimisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.checks import require_below, require_positive
from losses.pairs import PairValues, expected_over_labels, log_ratios, pair_output
from losses.types import LossOutput, PairLogps


@dataclass(frozen=True)
class DpoConfig:
    """Hyper-parameters of DPO.

    Attributes:
        beta: above 0. The higher, the nearer the policy stays to the reference. 0.1 is usual.
        label_smoothing: in [0, 0.5). The probability that a label is wrong; above 0 this is cDPO.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        require_positive(self, beta=self.beta)
        require_below(self, 0.5, label_smoothing=self.label_smoothing)


def dpo(batch: PairLogps, config: DpoConfig) -> LossOutput:
    """Return `-(1 - e) log sigma(z) - e log sigma(-z)` with `z = beta (r_chosen - r_rejected)` for each pair.

    `r` is the summed log-ratio of policy to reference, `e` the label smoothing; the implicit reward is
    `beta r`. At policy == reference the loss is ln 2.

    Args:
        batch: pairs with reference log-probs; `chosen_better_probability` acts as a per-pair smoothing.
        config: see `DpoConfig`.

    Raises:
        LossInputError: the batch has no reference log-probs.

    Source: Rafailov et al. 2023 (arXiv 2305.18290) eq. 7; smoothing: Mitchell 2023, "A note on DPO with noisy
        preferences", eq. 3.
    """
    ratios = log_ratios(batch)

    def loss(better: Tensor, worse: Tensor) -> Tensor:
        margin = config.beta * (better - worse)
        return -(1 - config.label_smoothing) * F.logsigmoid(margin) - config.label_smoothing * F.logsigmoid(-margin)

    losses = expected_over_labels(loss, ratios, batch.chosen_better_probability)
    return pair_output(losses, PairValues(config.beta * ratios.chosen, config.beta * ratios.rejected), batch)


def dpo_loss(
    policy_chosen_logps: Tensor | Sequence[float],
    policy_rejected_logps: Tensor | Sequence[float],
    reference_chosen_logps: Tensor | Sequence[float],
    reference_rejected_logps: Tensor | Sequence[float],
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean DPO loss and its metrics, from four plain tensors.

    Args:
        policy_chosen_logps: (batch,) floating, nats, summed.
        policy_rejected_logps: (batch,) floating, nats, summed.
        reference_chosen_logps: (batch,) floating, nats, summed.
        reference_rejected_logps: (batch,) floating, nats, summed.
        beta: see `DpoConfig`.
        label_smoothing: see `DpoConfig`.

    Returns:
        The mean loss, (), and metrics, among them `reward_margin` and `accuracy`.
    """
    batch = PairLogps(
        torch.as_tensor(policy_chosen_logps),
        torch.as_tensor(policy_rejected_logps),
        torch.as_tensor(reference_chosen_logps),
        torch.as_tensor(reference_rejected_logps),
    )
    output = dpo(batch, DpoConfig(beta=beta, label_smoothing=label_smoothing))
    return output.losses.mean(), output.metrics
