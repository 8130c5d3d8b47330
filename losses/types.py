"""What a loss is given and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .running import MovingMoments, RunningMean
from .shapes import one_a_row


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of a batch of pairs.

    Attributes:
        policy_chosen_logps: (batch,) nats, summed over the completion; carries the gradient.
        policy_rejected_logps: (batch,) nats, summed; carries the gradient.
        reference_chosen_logps: (batch,) nats, summed, under the reference; None for a method without one.
        reference_rejected_logps: (batch,) nats, summed, under the reference; None for a method without one.
        chosen_token_counts: (batch,) completion tokens; needed by methods that use means.
        rejected_token_counts: (batch,) completion tokens; needed by methods that use means.
        chosen_better_probability: (batch,) in [0, 1], the soft label; None means 1.
        weights: (batch,) weight of each row's loss; None means 1.
        prompt_chosen_nll: (batch,) nats a token: mean negative log-likelihood over prompt and chosen completion;
            carries the gradient. Needed only by ORPO with `nll_over: prompt_and_chosen`.
        row_draws: (batch,) uniform in (0, 1), for methods that leave out rows by chance; None leaves out none.
        seen_margins: Margins of all batches trained on before, for methods that follow them; None for none.
    """

    policy_chosen_logps: torch.Tensor
    policy_rejected_logps: torch.Tensor
    reference_chosen_logps: torch.Tensor | None = None
    reference_rejected_logps: torch.Tensor | None = None
    chosen_token_counts: torch.Tensor | None = None
    rejected_token_counts: torch.Tensor | None = None
    chosen_better_probability: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    prompt_chosen_nll: torch.Tensor | None = None
    row_draws: torch.Tensor | None = None
    seen_margins: MovingMoments | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for tensors of different shapes."""
        one_a_row("pairs", **{name: value for name, value in vars(self).items() if name != "seen_margins"})


@dataclass(frozen=True)
class UnpairedLogps:
    """Log-probs of a batch of labelled completions.

    Attributes:
        policy_logps: (batch,) nats, summed over the completion; carries the gradient.
        labels: (batch,) bool, True for desirable.
        reference_logps: (batch,) nats, summed, under the reference.
        policy_mismatched_logps: (rows,) nats, summed: completions of other prompts, for KTO's reference point.
        reference_mismatched_logps: (rows,) nats, summed, under the reference.
        reference_point: () nats, KTO's z0 where it was computed over more rows than this batch (gradient
            accumulation, several ranks); None lets the loss compute it from this batch.
        weights: (batch,) weight of each row's loss; None means 1.
        desirable_probability: (batch,) in [0, 1], the soft label; None means the labels.
        token_counts: (batch,) tokens of each completion; only methods that use means need them.
        seen: Log-ratios of all rows trained on before, for a shift that goes on over a run; None for none.
    """

    policy_logps: torch.Tensor
    labels: torch.Tensor
    reference_logps: torch.Tensor | None = None
    policy_mismatched_logps: torch.Tensor | None = None
    reference_mismatched_logps: torch.Tensor | None = None
    reference_point: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    desirable_probability: torch.Tensor | None = None
    token_counts: torch.Tensor | None = None
    seen: RunningMean | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for tensors of different shapes, and for labels that are not bool."""
        one_a_row(
            "unpaired rows",
            policy_logps=self.policy_logps,
            labels=self.labels,
            reference_logps=self.reference_logps,
            weights=self.weights,
            desirable_probability=self.desirable_probability,
            token_counts=self.token_counts,
        )
        one_a_row(
            "mismatched rows",
            policy_mismatched_logps=self.policy_mismatched_logps,
            reference_mismatched_logps=self.reference_mismatched_logps,
        )
        if self.labels.dtype != torch.bool:
            # 0 and 1 would be taken for numbers of rows where the labels choose rows.
            raise ValueError(f"unpaired rows: labels must be bool, True for desirable, not {self.labels.dtype}.")


@dataclass(frozen=True)
class PairLossOutput:
    """Per-pair results; the caller averages.

    Attributes:
        losses: (batch,) float32, or float64 where the log-probs are, weighted; carries the gradient.
        chosen_rewards: (batch,) float32, the method's implicit reward; no gradient.
        rejected_rewards: (batch,) float32; no gradient.
        margin_moments: Moving moments of margins with this batch's in them, where a method follows them.
    """

    losses: torch.Tensor
    chosen_rewards: torch.Tensor
    rejected_rewards: torch.Tensor
    margin_moments: MovingMoments | None = None


@dataclass(frozen=True)
class UnpairedLossOutput:
    """Per-row results; the caller averages.

    Attributes:
        losses: (batch,) float32, or float64 where the log-probs are, weighted; carries the gradient.
        rewards: (batch,) float32, the method's implicit reward; no gradient.
        reference_point: () float32, the z0 that was used; no gradient.
    """

    losses: torch.Tensor
    rewards: torch.Tensor
    reference_point: torch.Tensor


class MissingInputError(ValueError):
    """A loss needs a tensor that its batch does not hold."""


def required(tensor: torch.Tensor | None, name: str, method: str) -> torch.Tensor:
    """The tensor itself in float32 or wider, once it is there.

    Raises:
        MissingInputError: It is None.
    """
    if tensor is None:
        raise MissingInputError(f"{method} needs `{name}`, which this batch does not hold.")
    return widened(tensor)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32, or in float64 where it already is: half precision cannot hold a sum of log-probs."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def weighted(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Losses times their rows' weights."""
    return losses if weights is None else losses * weights.to(losses)


def as_tensor(values: torch.Tensor | Sequence[float]) -> torch.Tensor:
    """A tensor as it is; a list of numbers as float32."""
    return values if isinstance(values, torch.Tensor) else torch.tensor(values, dtype=torch.float32)


def as_labels(values: torch.Tensor | Sequence[bool]) -> torch.Tensor:
    """A tensor as it is; a list of labels as bool."""
    return values if isinstance(values, torch.Tensor) else torch.tensor(values, dtype=torch.bool)
