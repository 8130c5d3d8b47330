"""A tile of the head: logits of some tokens against some vocabulary rows, and the shares that a gradient takes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

# A block's logits against 8,192 rows are 16 MiB: wide enough for fast products, and the C library hands the same memory
# out again (glibc maps fresh pages for each piece above 32 MiB).
_BLOCK_TOKENS = 512
# A GPU wants fewer and larger kernels: 128 MiB.
_BLOCK_TOKENS_CUDA = 4096
_LOWEST_BIAS = -1e30


class Settings(NamedTuple):
    """How a pass over the head computes.

    Attributes:
        scale: Factor on the logits.
        soft_cap: Logits become soft_cap tanh(logits / soft_cap); None for none.
        tile: Vocabulary rows whose logits are held at a time.
        compute_dtype: Type of the operands of matrix products.
        rounded_products: Whether products come out in that type instead of float32.
        statistics: Whether entropies and sums of squared probabilities are wanted beside the log-probs.
        kept_bytes: How much may be kept for the backward pass of a head that takes a gradient.
        differentiable: Whether a backward pass may follow.
    """

    scale: float
    soft_cap: float | None
    tile: int
    compute_dtype: torch.dtype
    rounded_products: bool
    statistics: bool = False
    kept_bytes: int = 0
    differentiable: bool = True


class Rows(NamedTuple):
    """Head rows of one tile.

    Attributes:
        part: Where they lie in the vocabulary.
        weight: (rows, hidden) of the compute type.
        bias: (rows,) or None.
    """

    part: slice
    weight: torch.Tensor
    bias: torch.Tensor | None


class Spread(NamedTuple):
    """Of some distributions: their entropies and the logs of their summed squares, (tokens,) each, nats."""

    entropies: torch.Tensor
    log_squares: torch.Tensor


class Tile(NamedTuple):
    """What some tokens take of a tile.

    Attributes:
        shares: (tokens, rows) of the compute type: softmax within the tile times the soft cap's slope; 0 at the target,
            whose own part, 1 - p, a rounded p would not give.
        log_mass: (tokens,) log-sum-exp of the tile's logits.
        own: (tokens,) bool, whether the target lies in the tile.
        target_logits: (tokens,) the target's logit where it does.
        spread: Of the softmax within the tile; None where it was not asked for.
    """

    shares: torch.Tensor
    log_mass: torch.Tensor
    own: torch.Tensor
    target_logits: torch.Tensor
    spread: Spread | None


class _Logits(NamedTuple):
    """(tokens, rows) float32 logits, and the soft cap's slope at each; None without a cap."""

    values: torch.Tensor
    slope: torch.Tensor | None


def tile_rows(weight: torch.Tensor, bias: torch.Tensor | None, settings: Settings) -> Iterator[Rows]:
    """The head's rows tile by tile; each is read, and cast where it has to be, once."""
    for start in range(0, weight.shape[0], settings.tile):
        part = slice(start, min(start + settings.tile, weight.shape[0]))
        yield Rows(part, weight[part].to(settings.compute_dtype), None if bias is None else bias[part])


def blocks(hidden: torch.Tensor) -> list[slice]:
    """Tokens in parts that bound a tile's logits, however many a batch holds."""
    tokens, size = hidden.shape[0], _BLOCK_TOKENS_CUDA if hidden.device.type == "cuda" else _BLOCK_TOKENS
    return [slice(start, min(start + size, tokens)) for start in range(0, max(tokens, 1), size)]


def product(left: torch.Tensor, right: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Left @ right in float32, of operands in the compute type."""
    return _matmul(left, right, settings).float()


def add_product(
    total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, settings: Settings, *, fresh: bool
) -> None:
    """Add left @ right, of operands in the compute type, to a float32 sum in place; begin it where it is `fresh`."""
    if settings.compute_dtype == torch.float32:
        torch.addmm(total, left, right, beta=0.0 if fresh else 1.0, out=total)
    elif fresh:
        total.copy_(_matmul(left, right, settings))
    else:
        total.add_(_matmul(left, right, settings))


def _matmul(left: torch.Tensor, right: torch.Tensor, settings: Settings) -> torch.Tensor:
    if settings.rounded_products or settings.compute_dtype == torch.float32:
        return left @ right
    if left.device.type == "cuda" and settings.compute_dtype != torch.float64:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def pass_tile(hidden: torch.Tensor, rows: Rows, targets: torch.Tensor, settings: Settings) -> Tile:
    """A tile of some tokens.

    Args:
        hidden: (tokens, hidden) of the compute type.
        rows: The tile's head rows.
        targets: (tokens,) int64 in the whole vocabulary.
        settings: How to compute.
    """
    logits, slope = _tile_logits(hidden, rows, settings)
    places = targets - rows.part.start
    own = (places >= 0) & (places < logits.shape[1])
    places = places.clamp(0, logits.shape[1] - 1)[:, None]
    target_logits = logits.gather(1, places)[:, 0]
    highest = logits.amax(dim=-1)
    # In place on a CPU, which waits for memory more than for anything else.
    shares = torch.softmax(logits, dim=-1, out=logits if logits.device.type == "cpu" else None)
    # The highest logit's share is exp(highest - log_mass), and never below one over the tile's rows.
    log_mass = highest - shares.amax(dim=-1).log_()
    spread = _spread(shares) if settings.statistics else None
    if settings.differentiable:
        shares.scatter_(1, places, shares.gather(1, places).masked_fill_(own[:, None], 0.0))
        shares = (shares if slope is None else shares.mul_(slope)).to(settings.compute_dtype)
    return Tile(shares, log_mass, own, target_logits, spread)


def _tile_logits(hidden: torch.Tensor, rows: Rows, settings: Settings) -> _Logits:
    logits = product(hidden, rows.weight.T, settings)
    if rows.bias is not None:
        # A bias of -inf shuts a token out, and a tile of nothing else would have no softmax.
        logits.add_(rows.bias.clamp(min=_LOWEST_BIAS))
    if settings.scale != 1.0:
        logits.mul_(settings.scale)
    if settings.soft_cap is None:
        return _Logits(logits, None)
    squashed = torch.tanh_(logits.div_(settings.soft_cap))
    return _Logits(squashed * settings.soft_cap, 1.0 - squashed * squashed)


def _spread(shares: torch.Tensor) -> Spread:
    return Spread(torch.special.entr(shares).sum(dim=-1), shares.square().sum(dim=-1).log_())
