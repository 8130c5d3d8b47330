"""Attention of a segment by plain matrix products, its probabilities kept in the compute type.

On a CPU the fused kernel works on bfloat16 by way of float32 blocks: on one core products are 2.7 times as fast on
128 x 128 scores a head, 1.8 on 640 x 640, 1.3 on 1,024 x 1,024 (`python -m tests.benchmarks.bench_layouts --kernels`).
Queries go in blocks, each against the keys up to its own last one: nearly half of a long causal segment is neither
computed nor kept.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch

# Of 96 to 256 queries, 128 was fastest from 128 x 256 to 1,024 x 1,024 scores.
_BLOCK: Final = 128


class Block(NamedTuple):
    """Neighbouring queries, and the keys that their last one sees.

    Attributes:
        queries: Their places.
        keys: How many keys there are for them, from the first on.
    """

    queries: slice
    keys: int


def _blocks(queries: int, keys: int) -> Iterator[Block]:
    for start in range(0, queries, _BLOCK):
        stop = min(start + _BLOCK, queries)
        yield Block(slice(start, stop), keys - queries + stop)


class ShortAttention(torch.autograd.Function):
    """softmax(scale q k' + bias) v, the heads that share keys in one product."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Outputs of each query.

        Args:
            ctx: Autograd's.
            query: (1, heads, queries, size).
            key: (1, key heads, keys, size); heads are a multiple of key heads, and the last query sees the last key.
            value: (1, key heads, keys, value size).
            bias: (queries, keys), added to scores: minus infinity at keys after a query's own.
            scale: Factor on scores.

        Returns:
            (1, heads, queries, value size).
        """
        _, heads, queries, size = query.shape
        _, shared, keys, _ = key.shape
        grouped = query.reshape(shared, -1, queries, size)
        keyed, valued = key.reshape(shared, keys, size), value.reshape(shared, keys, -1)
        output = query.new_empty(*grouped.shape[:3], valued.shape[2])
        kept = []
        for places, seen in _blocks(queries, keys):
            block = grouped[:, :, places].reshape(shared, -1, size)
            scores = torch.bmm(block, keyed[:, :seen].transpose(1, 2)).view(heads, -1, seen)
            weights = torch.softmax(scores.mul_(scale).add_(bias[places, :seen]), -1).view(shared, -1, seen)
            output[:, :, places] = torch.bmm(weights, valued[:, :seen]).view_as(output[:, :, places])
            kept += [block, weights]
        ctx.save_for_backward(keyed, valued, *kept)
        ctx.scale, ctx.shape = scale, query.shape
        return output.view(1, heads, queries, -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of query, key and value."""
        key, value, *kept = ctx.saved_tensors
        shared, keys, size = key.shape
        queries = ctx.shape[2]
        grouped = gradient.reshape(shared, -1, queries, value.shape[2])
        query_gradient = gradient.new_empty(*grouped.shape[:3], size)
        # Blocks are added up in float32, as the fused kernel does.
        wide = torch.promote_types(key.dtype, torch.float32)
        key_gradient, value_gradient = torch.zeros_like(key, dtype=wide), torch.zeros_like(value, dtype=wide)
        for (places, seen), block, weights in zip(_blocks(queries, keys), kept[::2], kept[1::2], strict=True):
            outer = grouped[:, :, places].reshape(shared, -1, value.shape[2])
            value_gradient[:, :seen] += torch.bmm(weights.transpose(1, 2), outer)
            inner = torch.bmm(outer, value[:, :seen].transpose(1, 2))
            # d softmax: w (g - sum w g), summed in float32 by torch's own kernel.
            scores = torch.ops.aten._softmax_backward_data(inner, weights, -1, weights.dtype).mul_(ctx.scale)
            query_gradient[:, :, places] = torch.bmm(scores, key[:, :seen]).view_as(query_gradient[:, :, places])
            key_gradient[:, :seen] += torch.bmm(scores.transpose(1, 2), block)
        sums = key_gradient.to(key.dtype)[None], value_gradient.to(value.dtype)[None]
        return query_gradient.view(ctx.shape), *sums, None, None
