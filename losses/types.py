"""What a loss takes and gives: pairs or unpaired rows of log-probs in, per-example losses and rewards out.

Every tensor of a batch has one row an example and lies on one device. `logps` are sums over the completion's
tokens, in nats; a mean over tokens is formed inside the methods that want it, from the token counts.
"""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


class LossInputError(ValueError):
    """A batch or a hyper-parameter that a loss cannot work with; the message says which and what to do."""


@dataclass(frozen=True)
class PairLogps:
    """A batch of (chosen, rejected) pairs.

    Attributes:
        policy_chosen_logps: (batch,) floating, nats, summed over the completion; carries the gradient.
        policy_rejected_logps: as `policy_chosen_logps`, for the rejected completion.
        reference_chosen_logps: (batch,) floating, nats, summed, no gradient. None for reference-free methods.
        reference_rejected_logps: as `reference_chosen_logps`, for the rejected completion.
        chosen_token_counts: (batch,) integer, scored tokens of the chosen completion, at least 1. Needed by
            methods that use means.
        rejected_token_counts: as `chosen_token_counts`, for the rejected completion.
        weights: (batch,) floating, at least 0, multiplies each pair's loss. The caller's mean still divides
            by the number of pairs, so weights that average 1 keep the learning rate's meaning. None means 1.
        chosen_better_probability: (batch,) floating in [0, 1]: the posterior probability that chosen really
            is the better one. The loss becomes its expectation over the two orders. None means 1.
        policy_chosen_tail_logps: (batch,) floating, nats: the part of `policy_chosen_logps` that comes from
            tokens beyond the shorter completion's length. Read by `ld_alpha` only.
        policy_rejected_tail_logps: as `policy_chosen_tail_logps`, for the rejected completion.
        reference_chosen_tail_logps: as `policy_chosen_tail_logps`, under the reference.
        reference_rejected_tail_logps: as `policy_rejected_tail_logps`, under the reference.
        policy_prompt_chosen_logps: (batch,) floating, nats, summed over prompt AND chosen completion; carries
            the gradient. Read where an SFT term covers the prompt.
        prompt_chosen_token_counts: (batch,) integer, tokens summed in `policy_prompt_chosen_logps`.
        sft_token_count: () the tokens that an SFT term with `nll_mean: batch` averages over, divided by the
            micro-batches' number, where one optimizer step spans several; None means this batch's tokens.
        reference_point: () floating, in units of reward: BCO's running mean, kept by the caller.
    """

    policy_chosen_logps: Tensor
    policy_rejected_logps: Tensor
    reference_chosen_logps: Tensor | None = None
    reference_rejected_logps: Tensor | None = None
    chosen_token_counts: Tensor | None = None
    rejected_token_counts: Tensor | None = None
    weights: Tensor | None = None
    chosen_better_probability: Tensor | None = None
    policy_chosen_tail_logps: Tensor | None = None
    policy_rejected_tail_logps: Tensor | None = None
    reference_chosen_tail_logps: Tensor | None = None
    reference_rejected_tail_logps: Tensor | None = None
    policy_prompt_chosen_logps: Tensor | None = None
    prompt_chosen_token_counts: Tensor | None = None
    sft_token_count: Tensor | None = None
    reference_point: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that every tensor has one row a pair.

        Raises:
            LossInputError: a shape differs from the policy's, or a scalar field is not a scalar.
        """
        _check_shapes(self, self.policy_chosen_logps, scalars=("sft_token_count", "reference_point"))


@dataclass(frozen=True)
class BatchStatistics:
    """Sums over all rows that one optimizer step sees, for losses whose value depends on the whole batch.

    Add the statistics of micro-batches with `+` and all-reduce the six numbers over ranks; then hand the
    total to every micro-batch, and many small batches give exactly what one large batch gives.

    Attributes:
        desirable_sum: () sum of log-ratios, nats, over desirable rows, no gradient.
        desirable_count: () number of desirable rows.
        undesirable_sum: () sum of log-ratios, nats, over undesirable rows, no gradient.
        undesirable_count: () number of undesirable rows.
        mismatched_sum: () sum of log-ratios, nats, of mismatched completions, no gradient.
        mismatched_count: () number of mismatched completions.
    """

    desirable_sum: Tensor
    desirable_count: Tensor
    undesirable_sum: Tensor
    undesirable_count: Tensor
    mismatched_sum: Tensor
    mismatched_count: Tensor

    def __add__(self, other: "BatchStatistics") -> "BatchStatistics":
        """Return the statistics of both sets of rows together."""
        return BatchStatistics(
            *(getattr(self, item.name) + getattr(other, item.name) for item in fields(BatchStatistics))
        )


@dataclass(frozen=True)
class UnpairedLogps:
    """A batch of single completions, each labelled desirable or undesirable.

    Attributes:
        policy_logps: (batch,) floating, nats, summed over the completion; carries the gradient.
        reference_logps: (batch,) floating, nats, summed, no gradient. None for reference-free methods.
        labels: (batch,) bool, desirable = True.
        token_counts: (batch,) integer, scored tokens of the completion.
        policy_mismatched_logps: (mismatched,) floating, nats, summed: completions of OTHER prompts in the
            batch under the policy; no gradient is taken. KTO's default reference point.
        reference_mismatched_logps: as `policy_mismatched_logps`, under the reference.
        weights: (batch,) floating, at least 0, multiplies each row's loss. None means 1.
        desirable_probability: (batch,) floating in [0, 1]: the posterior probability that the row is
            desirable. It replaces `labels` in the loss by the expectation over both. None means the labels.
        statistics: sums over the whole optimizer step, where it spans several batches or ranks.
        reference_point: () floating: a reference point computed by the caller, which replaces the
            estimator. KTO: nats of log-ratio. BCO: units of reward.
    """

    policy_logps: Tensor
    reference_logps: Tensor | None = None
    labels: Tensor = field(kw_only=True)
    token_counts: Tensor | None = None
    policy_mismatched_logps: Tensor | None = None
    reference_mismatched_logps: Tensor | None = None
    weights: Tensor | None = None
    desirable_probability: Tensor | None = None
    statistics: BatchStatistics | None = None
    reference_point: Tensor | None = None

    def __post_init__(self) -> None:
        """Check shapes and that labels are bool.

        Raises:
            LossInputError: a shape differs from the policy's, labels are not bool, or the two mismatched
                tensors differ in length.
        """
        mismatched = ("policy_mismatched_logps", "reference_mismatched_logps")
        _check_shapes(self, self.policy_logps, scalars=("reference_point",), skipped=mismatched)
        if self.labels.dtype != torch.bool:
            raise LossInputError(f"labels is {self.labels.dtype}, not torch.bool; desirable rows are True.")
        policy, reference = self.policy_mismatched_logps, self.reference_mismatched_logps
        if policy is not None and reference is not None and policy.shape != reference.shape:
            raise LossInputError(
                f"policy_mismatched_logps has shape {tuple(policy.shape)} but reference_mismatched_logps "
                f"{tuple(reference.shape)}; give both for the same completions."
            )


@dataclass(frozen=True)
class LossOutput:
    """What every method returns. `losses.mean()` is the training loss.

    Attributes:
        losses: (batch,) floating, weights applied; carries the gradient.
        chosen_rewards: (batch,) floating, detached, for pairs; None otherwise.
        rejected_rewards: (batch,) floating, detached, for pairs; None otherwise.
        rewards: (batch,) floating, detached, for unpaired rows; None otherwise.
        metrics: name -> () tensor, detached.
    """

    losses: Tensor
    chosen_rewards: Tensor | None = None
    rejected_rewards: Tensor | None = None
    rewards: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


def _check_shapes(
    batch: "PairLogps | UnpairedLogps",
    rows: Tensor,
    scalars: tuple[str, ...],
    skipped: tuple[str, ...] = (),
) -> None:
    if rows.ndim != 1 or rows.shape[0] == 0:
        raise LossInputError(
            f"log-probs must have one value an example, shape (batch,) with at least one row; got {tuple(rows.shape)}."
        )
    for item in fields(batch):
        value = getattr(batch, item.name)
        if not isinstance(value, Tensor) or item.name in skipped:
            continue
        expected = torch.Size(()) if item.name in scalars else rows.shape
        if value.shape != expected:
            raise LossInputError(f"{item.name} has shape {tuple(value.shape)}, expected {tuple(expected)}.")
