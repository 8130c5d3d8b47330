"""Attention of a short segment by plain matrix products, its probabilities kept in the compute type.

On a CPU the fused kernel works on bfloat16 by way of float32 blocks. `python -m tests.benchmarks.bench_layouts` has
both on one core: products are faster up to about half a million scores a head, 2.5 times on 128 x 256.
"""

from typing import Any

import torch


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
            key: (1, key heads, keys, size); heads are a multiple of key heads.
            value: (1, key heads, keys, value size).
            bias: (queries, keys), added to scores.
            scale: Factor on scores.

        Returns:
            (1, heads, queries, value size).
        """
        _, heads, queries, size = query.shape
        _, key_heads, keys, _ = key.shape
        grouped = query.reshape(key_heads, -1, size)
        keyed, valued = key.reshape(key_heads, keys, size), value.reshape(key_heads, keys, -1)
        scores = torch.bmm(grouped, keyed.transpose(1, 2)).view(heads, queries, keys).mul_(scale).add_(bias)
        weights = torch.softmax(scores, -1).view(key_heads, -1, keys)
        ctx.save_for_backward(grouped, keyed, valued, weights)
        ctx.scale, ctx.shape = scale, query.shape
        return torch.bmm(weights, valued).view(1, heads, queries, -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of query, key and value."""
        query, key, value, weights = ctx.saved_tensors
        grouped = gradient.reshape(*query.shape[:2], -1)
        value_gradient = torch.bmm(weights.transpose(1, 2), grouped)
        weight_gradient = torch.bmm(grouped, value.transpose(1, 2))
        # d softmax: w (g - sum w g), summed in float32 by torch's own kernel.
        scores = torch.ops.aten._softmax_backward_data(weight_gradient, weights, -1, weights.dtype).mul_(ctx.scale)
        query_gradient = torch.bmm(scores, key).view(ctx.shape)
        key_gradient = torch.bmm(scores.transpose(1, 2), query)
        return query_gradient, key_gradient[None], value_gradient[None], None, None
