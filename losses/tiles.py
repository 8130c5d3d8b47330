"""The autograd function behind `losses.logps`: a pass over the head in tiles of the vocabulary, and its gradient.

Only a tile of logits is ever held: many tokens to a tile make large matrix products, each head row is read once a pass,
and its gradient is written once. The backward pass computes a tile's logits again instead of keeping them. Where the
head takes no gradient (adapters) nothing is computed again: the forward pass keeps each token's gradient, tokens x
hidden, instead.
"""

from typing import Any, NamedTuple

import torch

# Bounds a tile's logits at 4,096 x 8,192 float32 values, 128 MiB, however many tokens a batch holds.
_BLOCK_TOKENS = 4096


class Settings(NamedTuple):
    """How a pass over the head computes.

    Attributes:
        scale: Factor on the logits.
        soft_cap: Logits become soft_cap tanh(logits / soft_cap); None for none.
        tile: Vocabulary rows whose logits are held at a time.
        compute_dtype: Type of the operands of matrix products.
        rounded_products: Whether products come out in that type instead of float32.
        statistics: Whether entropies and sums of squared probabilities are wanted beside the log-probs.
    """

    scale: float
    soft_cap: float | None
    tile: int
    compute_dtype: torch.dtype
    rounded_products: bool
    statistics: bool = False


class HeadOutput(NamedTuple):
    """What a pass gives, each (tokens,) float32 nats; the last two are empty where they were not asked for.

    Attributes:
        logps: Log-probs of the targets; carries the gradient.
        entropies: -sum_v p(v) log p(v); no gradient.
        log_sum_squares: log sum_v p(v)^2; no gradient.
    """

    logps: torch.Tensor
    entropies: torch.Tensor
    log_sum_squares: torch.Tensor


class _Tile(NamedTuple):
    """Float32 logits of some tokens against some head rows, and d(logits) / d(logits before scale and cap)."""

    logits: torch.Tensor
    slope: torch.Tensor | float


class _Scanned(NamedTuple):
    """A block's (tokens,) log-probs and log-sum-exps, (tokens, hidden) gradients, and statistics where wanted."""

    logps: torch.Tensor
    normalisers: torch.Tensor
    gradient: torch.Tensor | None
    spread: "_Spread | None"


class _Spread:
    """Running sums for a token's entropy and its sum of squared probabilities, over the tiles seen so far."""

    def __init__(self, normaliser: torch.Tensor) -> None:
        """Start before the first tile.

        Args:
            normaliser: (tokens,) of the type and device of the sums.
        """
        self._mean_logit = torch.zeros_like(normaliser)
        self._log_squares = torch.full_like(normaliser, -torch.inf)

    def add(self, logits: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> None:
        """Take in one tile.

        Args:
            logits: (tokens, rows of the tile).
            before: (tokens,) log-sum-exp without this tile.
            after: (tokens,) log-sum-exp with it.
        """
        probability = (logits - after[:, None]).exp_()
        here = probability.mul_(logits).sum(dim=-1)
        self._mean_logit.mul_(torch.exp(before - after)).add_(here)
        self._log_squares = torch.logaddexp(self._log_squares, torch.logsumexp(2.0 * logits, dim=-1))

    def entropies(self, normaliser: torch.Tensor) -> torch.Tensor:
        """(tokens,) nats, at least 0."""
        return (normaliser - self._mean_logit).clamp(min=0.0)

    def log_sum_squares(self, normaliser: torch.Tensor) -> torch.Tensor:
        """(tokens,) nats, at most 0."""
        return (self._log_squares - 2.0 * normaliser).clamp(max=0.0)


def _tiles(vocabulary: int, settings: Settings) -> list[slice]:
    return [slice(start, min(start + settings.tile, vocabulary)) for start in range(0, vocabulary, settings.tile)]


def _blocks(tokens: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK_TOKENS, tokens)) for start in range(0, tokens, _BLOCK_TOKENS)]


def _tile_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, settings: Settings) -> _Tile:
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


def _product(left: torch.Tensor, right: torch.Tensor, settings: Settings) -> torch.Tensor:
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
    settings: Settings,
    keep_gradient: bool,
) -> _Scanned:
    """One pass over the vocabulary for a block of tokens, with a running log-sum-exp.

    Where the gradient is kept, `pull` runs along: the mean, under the probabilities so far, of head rows times slope.
    """
    normaliser = torch.full(targets.shape, -torch.inf, dtype=torch.float32, device=hidden.device)
    target_logit = torch.zeros_like(normaliser)
    pull = hidden.new_zeros(hidden.shape, dtype=torch.float32) if keep_gradient else None
    spread = _Spread(normaliser) if settings.statistics else None
    for part in _tiles(weight.shape[0], settings):
        tile = _tile_logits(hidden, weight[part], None if bias is None else bias[part], settings)
        here = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
        target_logit[here] = tile.logits[here, targets[here] - part.start]
        total = torch.logaddexp(normaliser, torch.logsumexp(tile.logits, dim=-1))
        if spread is not None:
            spread.add(tile.logits, normaliser, total)
        if pull is not None:
            share = _sloped(tile.logits.sub_(total[:, None]).exp_(), tile.slope)
            pull.mul_(torch.exp(normaliser - total)[:, None]).add_(_product(share, weight[part], settings))
        normaliser = total
    # Rounding can put a sure token's log-prob a hair above 0.
    logps = (target_logit - normaliser).clamp(max=0.0)
    if pull is None:
        return _Scanned(logps, normaliser, None, spread)
    slope: torch.Tensor | float = settings.scale
    if settings.soft_cap is not None:
        slope = settings.scale * (1.0 - (target_logit / settings.soft_cap) ** 2)[:, None]
    return _Scanned(logps, normaliser, weight[targets].float().mul_(slope).sub_(pull), spread)


class HeadPass(torch.autograd.Function):
    """Log-probs of targets; holds one tile of logits at a time in either direction."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        settings: Settings,
    ) -> HeadOutput:
        """Log-probs and statistics, and per-token gradients where the head is frozen."""
        head_trains = weight.requires_grad or (bias is not None and bias.requires_grad)
        keep = hidden_states.requires_grad and not head_trains
        logps = torch.empty(targets.shape, dtype=torch.float32, device=hidden_states.device)
        normalisers = torch.empty_like(logps)
        spreads = [torch.empty_like(logps) if settings.statistics else logps.new_empty(0) for _ in range(2)]
        gradient = torch.empty_like(hidden_states) if keep else None
        for block in _blocks(targets.shape[0]):
            scanned = _scan(hidden_states[block], weight, bias, targets[block], settings, keep)
            logps[block], normalisers[block] = scanned.logps, scanned.normalisers
            if gradient is not None and scanned.gradient is not None:
                gradient[block] = scanned.gradient
            if scanned.spread is not None:
                spreads[0][block] = scanned.spread.entropies(scanned.normalisers)
                spreads[1][block] = scanned.spread.log_sum_squares(scanned.normalisers)
        ctx.settings = settings
        # With the gradient kept, nothing else is read again.
        ctx.save_for_backward(*((None,) * 5 if keep else (hidden_states, weight, bias, targets, normalisers)), gradient)
        ctx.mark_non_differentiable(*spreads)
        return HeadOutput(logps, *spreads)

    @staticmethod
    def backward(ctx: Any, grad_logps: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
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
