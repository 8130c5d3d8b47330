"""From hidden states and the head to log-probs of given tokens, without ever holding tokens x vocabulary.

Only completion positions go through the head, against a tile of the vocabulary at a time (`losses.tiles`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .tiles import HeadOutput, HeadPass, Settings

# Of 1,024 to 16,384 rows, 8,192 was as fast as any and holds less (`python -m tests.benchmarks.bench_logps --tile N`).
DEFAULT_TILE = 8192


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
) -> TokenLogps:
    """Log-probs of each row's completion tokens, with what weighted preference optimisation measures them against.

    Args:
        hidden_states: (batch, time, hidden) last hidden states, before the head.
        head: The output layer.
        input_ids: (batch, time) int64 tokens that the hidden states were computed from.
        completion_mask: (batch, time) bool, True at completion tokens. Position 0 has no prediction and must be False.
        tile: Vocabulary rows whose logits are held at a time.

    Raises:
        ValueError: A completion starts at position 0, where nothing predicts it, or a token is not in the vocabulary.
    """
    _check_starts(completion_mask)
    rows, columns = completion_mask.nonzero(as_tuple=True)
    output = token_statistics(hidden_states[rows, columns - 1], head, input_ids[rows, columns], tile)
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
) -> SequenceLogps:
    """Summed log-probs of each row's completion.

    Args:
        hidden_states: (batch, time, hidden) last hidden states, before the head.
        head: The output layer.
        input_ids: (batch, time) int64 tokens that the hidden states were computed from.
        completion_mask: (batch, time) bool, True at completion tokens. Position 0 has no prediction and must be False.
        tile: Vocabulary rows whose logits are held at a time.

    Raises:
        ValueError: A completion starts at position 0, where nothing predicts it, or a token is not in the vocabulary.
    """
    _check_starts(completion_mask)
    # The hidden state at t - 1 predicts the token at t.
    rows, columns = completion_mask.nonzero(as_tuple=True)
    tokens = token_logps(hidden_states[rows, columns - 1], head, input_ids[rows, columns], tile)
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
    hidden_states: torch.Tensor, head: Head, targets: torch.Tensor, tile: int = DEFAULT_TILE
) -> torch.Tensor:
    """Log-prob of each target token: (tokens,) float32 nats.

    Products of half-precision weights and states come out in float32: rounding logits to bfloat16 shifts the sum of 512
    tokens by tenths of a nat. Only under autocast on a CPU do products come out in its type, for speed.

    Args:
        hidden_states: (tokens, hidden) that predict the targets.
        head: The output layer.
        targets: (tokens,) int64.
        tile: Vocabulary rows whose logits are held at a time.

    Raises:
        ValueError: `tile` is below 1, or a target is not in the vocabulary.
    """
    return _passed(hidden_states, head, targets, tile, statistics=False).logps


def token_statistics(
    hidden_states: torch.Tensor, head: Head, targets: torch.Tensor, tile: int = DEFAULT_TILE
) -> HeadOutput:
    """Log-probs as `token_logps` gives them, with each position's entropy and log of its summed squared probabilities.

    The last is what weighted preference optimisation measures a token against (`losses.wpo`).

    Args:
        hidden_states: (tokens, hidden) that predict the targets.
        head: The output layer.
        targets: (tokens,) int64.
        tile: Vocabulary rows whose logits are held at a time.

    Raises:
        ValueError: `tile` is below 1, or a target is not in the vocabulary.
    """
    return _passed(hidden_states, head, targets, tile, statistics=True)


def by_position(values: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Per-token values back at their places: (batch, time), 0 outside completions.

    Args:
        values: (tokens,) in the order of the mask's True places, row by row.
        completion_mask: (batch, time) bool.
    """
    return values.new_zeros(completion_mask.shape).masked_scatter(completion_mask, values)


def _passed(hidden_states: torch.Tensor, head: Head, targets: torch.Tensor, tile: int, statistics: bool) -> HeadOutput:
    if tile < 1:
        raise ValueError(f"tile must be at least 1 vocabulary row, not {tile}.")
    outside = int(((targets < 0) | (targets >= head.weight.shape[0])).sum())
    if outside:
        raise ValueError(
            f"{outside} of {targets.numel()} targets are no token of the head's {head.weight.shape[0]}; score only "
            f"completion tokens, not positions masked by a label such as -100."
        )
    device = hidden_states.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    rounded = compute != head.weight.dtype and device != "cuda"
    settings = Settings(head.scale, head.soft_cap, tile, compute, rounded, statistics)
    with torch.autocast(device, enabled=False):
        outputs = HeadPass.apply(hidden_states, head.weight, head.bias, targets, settings)  # type: ignore[no-untyped-call]
    return HeadOutput(*outputs)
