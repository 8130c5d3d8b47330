"""From hidden states and the head to log-probs of given tokens, without ever holding tokens x vocabulary.

Only completion positions go through the head, against a tile of the vocabulary at a time: many tokens to a tile make
large matrix products, each head row is read once a pass, and its gradient is written once. The backward pass computes a
tile's logits again instead of keeping them. Where the head takes no gradient (adapters) nothing is computed again: the
forward pass keeps each token's gradient, tokens x hidden, instead.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

# Of 1,024 to 16,384 rows, 8,192 was as fast as any and holds less (`python -m tests.benchmarks.bench_logps --tile N`).
DEFAULT_TILE = 8192
# Bounds a tile's logits at 4,096 x 8,192 float32 values, 128 MiB, however many tokens a batch holds.
_BLOCK_TOKENS = 4096


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
        ValueError: A completion starts at position 0, where nothing predicts it.
    """
    if bool(completion_mask[:, 0].any()):
        raise ValueError(
            f"{int(completion_mask[:, 0].sum())} of {completion_mask.shape[0]} completions start at position 0: "
            f"give every row at least one prompt token."
        )
    # The hidden state at t - 1 predicts the token at t.
    rows, columns = completion_mask.nonzero(as_tuple=True)
    tokens = token_logps(hidden_states[rows, columns - 1], head, input_ids[rows, columns], tile)
    tokens = tokens.double()
    sums = tokens.new_zeros(completion_mask.shape[0]).index_add(0, rows, tokens)
    return SequenceLogps(sums, completion_mask.sum(dim=1))


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
        ValueError: `tile` is below 1.
    """
    if tile < 1:
        raise ValueError(f"tile must be at least 1 vocabulary row, not {tile}.")
    device = hidden_states.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    rounded = compute != head.weight.dtype and device != "cuda"
    settings = _Settings(head.scale, head.soft_cap, tile, compute, rounded)
    with torch.autocast(device, enabled=False):
        result: torch.Tensor = _TokenLogps.apply(hidden_states, head.weight, head.bias, targets, settings)  # type: ignore[no-untyped-call]
    return result


class _Settings(NamedTuple):
    scale: float
    soft_cap: float | None
    tile: int
    compute_dtype: torch.dtype
    rounded_products: bool


class _Tile(NamedTuple):
    """Float32 logits of some tokens against some head rows, and d(logits) / d(logits before scale and cap)."""

    logits: torch.Tensor
    slope: torch.Tensor | float


class _Statistics(NamedTuple):
    """What a pass over the vocabulary gives: (tokens,) log-probs and log-sum-exps, and (tokens, hidden) gradients."""

    logps: torch.Tensor
    normalisers: torch.Tensor
    gradient: torch.Tensor | None


def _tiles(vocabulary: int, settings: _Settings) -> list[slice]:
    return [slice(start, min(start + settings.tile, vocabulary)) for start in range(0, vocabulary, settings.tile)]


def _blocks(tokens: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK_TOKENS, tokens)) for start in range(0, tokens, _BLOCK_TOKENS)]


def _tile_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, settings: _Settings) -> _Tile:
    logits = _product(hidden, weight.T, settings)
    if bias is not None:
        logits.add_(bias)
    if settings.scale != 1.0:
        logits.mul_(settings.scale)
    if settings.soft_cap is None:
        return _Tile(logits, settings.scale)
    squashed = torch.tanh_(logits.div_(settings.soft_cap))
    slope = settings.scale * (1.0 - squashed * squashed)
    return _Tile(squashed * settings.soft_cap, slope)


def _sloped(values: torch.Tensor, slope: torch.Tensor | float) -> torch.Tensor:
    return values if isinstance(slope, float) and slope == 1.0 else values.mul_(slope)


def _product(left: torch.Tensor, right: torch.Tensor, settings: _Settings) -> torch.Tensor:
    """Left @ right in float32, of operands in the compute type."""
    left, right = left.to(settings.compute_dtype), right.to(settings.compute_dtype)
    if settings.rounded_products or settings.compute_dtype == torch.float32:
        return (left @ right).float()
    if left.device.type == "cuda" and settings.compute_dtype != torch.float64:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _scan(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    settings: _Settings,
    keep_gradient: bool,
) -> _Statistics:
    """One pass over the vocabulary for a block of tokens, with a running log-sum-exp.

    Where the gradient is kept, `pull` runs along: the mean, under the probabilities so far, of head rows times slope.
    """
    normaliser = torch.full(targets.shape, -torch.inf, device=hidden.device)
    target_logit = torch.zeros_like(normaliser)
    pull = hidden.new_zeros(hidden.shape, dtype=torch.float32) if keep_gradient else None
    for part in _tiles(weight.shape[0], settings):
        tile = _tile_logits(hidden, weight[part], None if bias is None else bias[part], settings)
        here = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
        target_logit[here] = tile.logits[here, targets[here] - part.start]
        total = torch.logaddexp(normaliser, torch.logsumexp(tile.logits, dim=-1))
        if pull is not None:
            share = _sloped(tile.logits.sub_(total[:, None]).exp_(), tile.slope)
            pull.mul_(torch.exp(normaliser - total)[:, None]).add_(_product(share, weight[part], settings))
        normaliser = total
    # Rounding can put a sure token's log-prob a hair above 0.
    logps = (target_logit - normaliser).clamp(max=0.0)
    if pull is None:
        return _Statistics(logps, normaliser, None)
    slope: torch.Tensor | float = settings.scale
    if settings.soft_cap is not None:
        slope = settings.scale * (1.0 - (target_logit / settings.soft_cap) ** 2)[:, None]
    return _Statistics(logps, normaliser, weight[targets].float().mul_(slope).sub_(pull))


class _TokenLogps(torch.autograd.Function):
    """Log-probs of targets; holds one tile of logits at a time in either direction."""

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
        head_trains = weight.requires_grad or (bias is not None and bias.requires_grad)
        keep = hidden_states.requires_grad and not head_trains
        logps = torch.empty(targets.shape, dtype=torch.float32, device=hidden_states.device)
        normalisers = torch.empty_like(logps)
        gradient = torch.empty_like(hidden_states) if keep else None
        for block in _blocks(targets.shape[0]):
            found = _scan(hidden_states[block], weight, bias, targets[block], settings, keep)
            logps[block], normalisers[block] = found.logps, found.normalisers
            if gradient is not None and found.gradient is not None:
                gradient[block] = found.gradient
        ctx.settings = settings
        # With the gradient kept, nothing else is read again.
        ctx.save_for_backward(*((None,) * 5 if keep else (hidden_states, weight, bias, targets, normalisers)), gradient)
        return logps

    @staticmethod
    def backward(ctx: Any, grad_logps: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of hidden states, weight and bias."""
        hidden_states, weight, bias, targets, normalisers, kept = ctx.saved_tensors
        if kept is not None:
            return (grad_logps[:, None] * kept).to(kept.dtype), None, None, None, None
        grad_hidden = torch.zeros_like(hidden_states, dtype=torch.float32)
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.empty_like(bias) if ctx.needs_input_grad[2] else None
        with torch.autocast(hidden_states.device.type, enabled=False):
            for part in _tiles(weight.shape[0], ctx.settings):
                rows, offset = weight[part], None if bias is None else bias[part]
                by_rows = torch.zeros_like(rows, dtype=torch.float32) if grad_weight is not None else None
                by_offset = torch.zeros_like(rows[:, 0], dtype=torch.float32)
                for block in _blocks(targets.shape[0]):
                    hidden = hidden_states[block]
                    tile = _tile_logits(hidden, rows, offset, ctx.settings)
                    by_logits = _logits_gradient(
                        tile, targets[block] - part.start, normalisers[block], grad_logps[block]
                    )
                    grad_hidden[block] += _product(by_logits, rows, ctx.settings)
                    by_offset += by_logits.sum(dim=0)
                    if by_rows is not None:
                        by_rows += _product(by_logits.T, hidden, ctx.settings)
                _store(grad_weight, part, by_rows)
                _store(grad_bias, part, by_offset)
        return grad_hidden.to(hidden_states.dtype), grad_weight, grad_bias, None, None


def _store(gradient: torch.Tensor | None, part: slice, values: torch.Tensor | None) -> None:
    if gradient is not None and values is not None:
        gradient[part] = values


def _logits_gradient(
    tile: _Tile, places: torch.Tensor, normaliser: torch.Tensor, grad_logps: torch.Tensor
) -> torch.Tensor:
    """d(loss) / d(logits before scale and cap), in place of the tile's logits.

    Args:
        tile: Logits and slope.
        places: (tokens,) the targets' columns in this tile; outside of it where they lie in another one.
        normaliser: (tokens,) log-sum-exp over the whole vocabulary.
        grad_logps: (tokens,) d(loss) / d(log-prob).
    """
    gradient = tile.logits.sub_(normaliser[:, None]).exp_().mul_(-grad_logps[:, None])
    here = ((places >= 0) & (places < gradient.shape[1])).nonzero()[:, 0]
    gradient[here, places[here]] += grad_logps[here]
    return _sloped(gradient, tile.slope)
