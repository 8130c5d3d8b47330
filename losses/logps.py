"""From hidden states and the head to log-probs of given tokens, without ever holding tokens x vocabulary.

Only completion positions go through the head, a chunk of them at a time; the backward pass computes a chunk's
logits again instead of keeping them. Where the head takes no gradient (adapters) nothing is computed again: the
forward pass keeps each token's gradient, tokens x hidden, instead.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

DEFAULT_CHUNK_TOKENS = 256


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


def completion_logps(
    hidden_states: torch.Tensor,
    head: Head,
    input_ids: torch.Tensor,
    completion_mask: torch.Tensor,
    chunk_tokens: int = DEFAULT_CHUNK_TOKENS,
) -> SequenceLogps:
    """Summed log-probs of each row's completion.

    Args:
        hidden_states: (batch, time, hidden) last hidden states, before the head.
        head: The output layer.
        input_ids: (batch, time) int64 tokens that the hidden states were computed from.
        completion_mask: (batch, time) bool, True at completion tokens. Position 0 has no prediction and must be False.
        chunk_tokens: Tokens whose logits are held at a time.

    Raises:
        ValueError: A completion starts at position 0, where nothing predicts it.
    """
    if bool(completion_mask[:, 0].any()):
        raise ValueError(
            f"{int(completion_mask[:, 0].sum())} of {completion_mask.shape[0]} completions start at position 0: "
            f"give every row at least one prompt token."
        )
    # The hidden state at t - 1 predicts the token at t.
    rows, columns = completion_mask.nonzero(as_tuple=True)
    tokens = token_logps(hidden_states[rows, columns - 1], head, input_ids[rows, columns], chunk_tokens)
    tokens = tokens.double()
    sums = tokens.new_zeros(completion_mask.shape[0]).index_add(0, rows, tokens)
    return SequenceLogps(sums, completion_mask.sum(dim=1))


def token_logps(
    hidden_states: torch.Tensor, head: Head, targets: torch.Tensor, chunk_tokens: int = DEFAULT_CHUNK_TOKENS
) -> torch.Tensor:
    """Log-prob of each target token: (tokens,) float32 nats.

    Under autocast the matrix products run in its type; the log-sum-exp is float32 always.

    Args:
        hidden_states: (tokens, hidden) that predict the targets.
        head: The output layer.
        targets: (tokens,) int64.
        chunk_tokens: Tokens whose logits are held at a time.
    """
    device = hidden_states.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    settings = _Settings(head.scale, head.soft_cap, chunk_tokens, compute)
    result: torch.Tensor = _TokenLogps.apply(hidden_states, head.weight, head.bias, targets, settings)  # type: ignore[no-untyped-call]
    return result


class _Settings(NamedTuple):
    scale: float
    soft_cap: float | None
    chunk_tokens: int
    compute_dtype: torch.dtype


class _Chunk(NamedTuple):
    """Float32 logits of a chunk, and d(logits after scale and cap) / d(logits before), where it is not 1."""

    logits: torch.Tensor
    slope: torch.Tensor | float


def _chunk_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, settings: _Settings) -> _Chunk:
    logits = torch.nn.functional.linear(hidden, weight, bias).float()
    if settings.scale != 1.0:
        logits.mul_(settings.scale)
    slope: torch.Tensor | float = settings.scale
    if settings.soft_cap is not None:
        squashed = torch.tanh_(logits.div_(settings.soft_cap))
        slope = settings.scale * (1.0 - squashed * squashed)
        logits = squashed * settings.soft_cap
    return _Chunk(logits, slope)


def _logits_gradient(chunk: _Chunk, targets: torch.Tensor, normaliser: torch.Tensor) -> torch.Tensor:
    """d(log-prob of the target) / d(logits before scale and cap), in place of the logits: (tokens, vocabulary)."""
    gradient = chunk.logits.sub_(normaliser[:, None]).exp_().neg_()
    gradient.scatter_add_(1, targets[:, None], torch.ones_like(normaliser)[:, None])
    return gradient if isinstance(chunk.slope, float) and chunk.slope == 1.0 else gradient.mul_(chunk.slope)


class _TokenLogps(torch.autograd.Function):
    """Log-probs of targets; its backward pass holds one chunk of logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        settings: _Settings,
    ) -> torch.Tensor:
        """Log-probs, and per-token gradients where the head is frozen."""
        kernel = weight.to(settings.compute_dtype)
        offset = None if bias is None else bias.to(settings.compute_dtype)
        head_trains = weight.requires_grad or (bias is not None and bias.requires_grad)
        keep_gradient = hidden_states.requires_grad and not head_trains
        logps = torch.empty(targets.shape[0], dtype=torch.float32, device=hidden_states.device)
        normalisers = torch.empty_like(logps)
        gradient = torch.empty_like(hidden_states) if keep_gradient else None
        for start in range(0, targets.shape[0], settings.chunk_tokens):
            part = slice(start, start + settings.chunk_tokens)
            chunk = _chunk_logits(hidden_states[part].to(settings.compute_dtype), kernel, offset, settings)
            normalisers[part] = torch.logsumexp(chunk.logits, dim=-1)
            # Rounding can put a sure token's log-prob a hair above 0.
            logps[part] = (chunk.logits.gather(1, targets[part, None])[:, 0] - normalisers[part]).clamp(max=0.0)
            if gradient is not None:
                by_logits = _logits_gradient(chunk, targets[part], normalisers[part])
                gradient[part] = (by_logits.to(kernel.dtype) @ kernel).to(gradient.dtype)
        ctx.settings = settings
        ctx.save_for_backward(hidden_states, weight, bias, targets, normalisers, gradient)
        return logps

    @staticmethod
    def backward(ctx: Any, grad_logps: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of hidden states, weight and bias."""
        hidden_states, weight, bias, targets, normalisers, kept = ctx.saved_tensors
        if kept is not None:
            return (grad_logps[:, None] * kept).to(kept.dtype), None, None, None, None
        settings: _Settings = ctx.settings
        kernel = weight.to(settings.compute_dtype)
        offset = None if bias is None else bias.to(settings.compute_dtype)
        grad_hidden = torch.empty_like(hidden_states) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        for start in range(0, targets.shape[0], settings.chunk_tokens):
            part = slice(start, start + settings.chunk_tokens)
            hidden = hidden_states[part].to(settings.compute_dtype)
            chunk = _chunk_logits(hidden, kernel, offset, settings)
            by_logits = _logits_gradient(chunk, targets[part], normalisers[part]).mul_(grad_logps[part, None])
            if grad_bias is not None:
                grad_bias += by_logits.sum(dim=0)
            by_logits = by_logits.to(settings.compute_dtype)
            if grad_hidden is not None:
                grad_hidden[part] = by_logits @ kernel
            if grad_weight is not None:
                _accumulate(grad_weight, by_logits, hidden)
        return grad_hidden, grad_weight, grad_bias, None, None


def _accumulate(total: torch.Tensor, by_logits: torch.Tensor, hidden: torch.Tensor) -> None:
    """Do total += by_logits^T hidden, without a product as large as `total` where the types agree."""
    if total.dtype == by_logits.dtype:
        total.addmm_(by_logits.T, hidden)
    else:
        total += by_logits.T @ hidden
