"""From hidden states and the head to log-probs of given tokens, without ever holding tokens x vocabulary.

Only completion positions go through the head, against a tile of the vocabulary at a time (`losses.tiles`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .head_pass import HeadOutput, HeadPass
from .tiles import Settings

# Of 1,024 to 16,384 rows, 8,192 was as fast as any and holds less (`python -m tests.benchmarks.bench_logps --tile N`).
DEFAULT_TILE = 8192
# 2,730 tokens of a vocabulary of 49,152 in float32, 2,093 of one of 128,256 in bfloat16.
DEFAULT_KEPT_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Head:
    """A language model's output layer.

    Attributes:
        weight: (vocabulary, hidden).
        bias: (vocabulary,) or None.
        scale: Logits are multiplied by this (Granite divides by `logits_scaling`, Cohere multiplies by `logit_scale`).
        soft_cap: Logits become soft_cap tanh(logits / soft_cap) (Gemma 2); None for none.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None


class SequenceLogps(NamedTuple):
    """Log-probs of a batch of completions.

    Attributes:
        logps: (batch,) float64 nats, summed over the completion: a long sum keeps the digits of its terms.
        token_counts: (batch,) int64 completion tokens.
    """

    logps: torch.Tensor
    token_counts: torch.Tensor


class TokenLogps(NamedTuple):
    """Log-probs of each completion token of a batch; (batch, time) each, 0 outside completions.

    Attributes:
        logps: Float32 nats; carries the gradient.
        log_sum_squares: log sum_v p(v)^2, float32 nats; no gradient.
        mask: Bool, True at completion tokens.
    """

    logps: torch.Tensor
    log_sum_squares: torch.Tensor
    mask: torch.Tensor

    def summed(self) -> SequenceLogps:
        """What `completion_logps` gives."""
        return SequenceLogps(self.logps.double().sum(dim=1), self.mask.sum(dim=1))


def completion_token_logps(
    hidden_states: torch.Tensor,
    head: Head,
    input_ids: torch.Tensor,
    completion_mask: torch.Tensor,
    tile: int = DEFAULT_TILE,
    kept_bytes: int = DEFAULT_KEPT_BYTES,
) -> TokenLogps:
    """Log-probs of each row's completion tokens, with what weighted preference optimisation measures them against.

    Args:
        hidden_states: (batch, time, hidden) last hidden states, before the head.
        head: The output layer.
        input_ids: (batch, time) int64 tokens that the hidden states were computed from.
        completion_mask: (batch, time) bool, True at completion tokens. Position 0 has no prediction and must be False.
        tile: Vocabulary rows whose logits are held at a time.
        kept_bytes: What may be kept for the backward pass where the head takes a gradient; the rest is computed again.
            Changes no digit.

    Raises:
        ValueError: A completion starts at position 0, where nothing predicts it, or a token is not in the vocabulary.
    """
    _check_starts(completion_mask)
    rows, columns = completion_mask.nonzero(as_tuple=True)
    output = token_statistics(hidden_states[rows, columns - 1], head, input_ids[rows, columns], tile, kept_bytes)
    return TokenLogps(
        by_position(output.logps, completion_mask),
        by_position(output.log_sum_squares, completion_mask),
        completion_mask,
    )


def completion_logps(
    hidden_states: torch.Tensor,
    head: Head,
    input_ids: torch.Tensor,
    completion_mask: torch.Tensor,
    tile: int = DEFAULT_TILE,
    kept_bytes: int = DEFAULT_KEPT_BYTES,
) -> SequenceLogps:
    """Summed log-probs of each row's completion.

    Args:
        hidden_states: (batch, time, hidden) last hidden states, before the head.
        head: The output layer.
        input_ids: (batch, time) int64 tokens that the hidden states were computed from.
        completion_mask: (batch, time) bool, True at completion tokens. Position 0 has no prediction and must be False.
        tile: Vocabulary rows whose logits are held at a time.
        kept_bytes: What may be kept for the backward pass where the head takes a gradient; the rest is computed again.
            Changes no digit.

    Raises:
        ValueError: A completion starts at position 0, where nothing predicts it, or a token is not in the vocabulary.
    """
    _check_starts(completion_mask)
    # The hidden state at t - 1 predicts the token at t.
    rows, columns = completion_mask.nonzero(as_tuple=True)
    tokens = token_logps(hidden_states[rows, columns - 1], head, input_ids[rows, columns], tile, kept_bytes)
    tokens = tokens.double()
    sums = tokens.new_zeros(completion_mask.shape[0]).index_add(0, rows, tokens)
    return SequenceLogps(sums, completion_mask.sum(dim=1))


def _check_starts(completion_mask: torch.Tensor) -> None:
    if bool(completion_mask[:, 0].any()):
        raise ValueError(
            f"{int(completion_mask[:, 0].sum())} of {completion_mask.shape[0]} completions start at position 0: "
            f"give every row at least one prompt token."
        )


def token_logps(
    hidden_states: torch.Tensor,
    head: Head,
    targets: torch.Tensor,
    tile: int = DEFAULT_TILE,
    kept_bytes: int = DEFAULT_KEPT_BYTES,
) -> torch.Tensor:
    """Log-prob of each target token: (tokens,) float32 nats.

    Products of half-precision weights and states come out in float32: rounding logits to bfloat16 shifts the sum of 512
    tokens by tenths of a nat. Only under autocast on a CPU do products come out in its type, for speed.

    Args:
        hidden_states: (tokens, hidden) that predict the targets.
        head: The output layer.
        targets: (tokens,) int64.
        tile: Vocabulary rows whose logits are held at a time.
        kept_bytes: What may be kept for the backward pass where the head takes a gradient; the rest is computed again.
            Changes no digit.

    Raises:
        ValueError: `tile` is below 1, or a target is not in the vocabulary.
    """
    return _passed(hidden_states, head, targets, _Limits(tile, kept_bytes), statistics=False).logps


def token_statistics(
    hidden_states: torch.Tensor,
    head: Head,
    targets: torch.Tensor,
    tile: int = DEFAULT_TILE,
    kept_bytes: int = DEFAULT_KEPT_BYTES,
) -> HeadOutput:
    """Log-probs as `token_logps` gives them, with each position's entropy and log of its summed squared probabilities.

    The last is what weighted preference optimisation measures a token against (`losses.wpo`).

    Args:
        hidden_states: (tokens, hidden) that predict the targets.
        head: The output layer.
        targets: (tokens,) int64.
        tile: Vocabulary rows whose logits are held at a time.
        kept_bytes: What may be kept for the backward pass where the head takes a gradient; the rest is computed again.
            Changes no digit.

    Raises:
        ValueError: `tile` is below 1, or a target is not in the vocabulary.
    """
    return _passed(hidden_states, head, targets, _Limits(tile, kept_bytes), statistics=True)


def by_position(values: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Per-token values back at their places: (batch, time), 0 outside completions.

    Args:
        values: (tokens,) in the order of the mask's True places, row by row.
        completion_mask: (batch, time) bool.
    """
    return values.new_zeros(completion_mask.shape).masked_scatter(completion_mask, values)


class _Limits(NamedTuple):
    """Vocabulary rows whose logits are held at a time, and what may be kept for the backward pass."""

    tile: int
    kept_bytes: int


def _passed(
    hidden_states: torch.Tensor, head: Head, targets: torch.Tensor, limits: _Limits, statistics: bool
) -> HeadOutput:
    _check(head, targets, limits)
    device = hidden_states.device.type
    narrowed = torch.is_autocast_enabled(device)
    settings = Settings(
        scale=head.scale,
        soft_cap=head.soft_cap,
        tile=limits.tile,
        compute_dtype=torch.get_autocast_dtype(device) if narrowed else head.weight.dtype,
        rounded_products=narrowed and device != "cuda",
        statistics=statistics,
        kept_bytes=limits.kept_bytes,
        differentiable=torch.is_grad_enabled(),
    )
    with torch.autocast(device, enabled=False):
        outputs = HeadPass.apply(hidden_states, head.weight, head.bias, targets, settings)  # type: ignore[no-untyped-call]
    return HeadOutput(*outputs)


def _check(head: Head, targets: torch.Tensor, limits: _Limits) -> None:
    if limits.tile < 1:
        raise ValueError(f"tile must be at least 1 vocabulary row, not {limits.tile}.")
    if limits.kept_bytes < 0:
        raise ValueError(f"kept_bytes must be at least 0, not {limits.kept_bytes}.")
    outside = int(((targets < 0) | (targets >= head.weight.shape[0])).sum())
    if outside:
        raise ValueError(
            f"{outside} of {targets.numel()} targets are no token of the head's {head.weight.shape[0]}; score only "
            f"completion tokens, not positions masked by a label such as -100."
        )
