"""Attention over segments in one call of the GPU's kernel for sequences of many lengths.

Its keys are gathered: behind one another lie each segment's prefix and its own, so a prompt's are there once for each
of its completions. A causal call aligns the last query with the last key, which is what a completion after its prompt
needs; the probe at load would find a kernel that does otherwise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from .pieces import Rules
from .segments import Segments

# `torch.nn.attention.varlen.varlen_attn`, or a stand-in: query, key, value, bounds of queries and of keys, longest of
# each, and by name `scale`, `window_size`, `enable_gqa`.
Kernel = Callable[..., Any]

_TYPES = (torch.float16, torch.bfloat16)


class Gathering(NamedTuple):
    """What the kernel is told of a row.

    Attributes:
        places: (keys,) int64, where each segment's keys lie: those of the prefix first, then its own.
        query_bounds: (segments + 1,) int32, where each segment's queries begin, and the end.
        key_bounds: (segments + 1,) int32, where each segment's keys begin among `places`, and the end.
        longest_query: Most queries of a segment.
        longest_key: Most keys.
    """

    places: torch.Tensor
    query_bounds: torch.Tensor
    key_bounds: torch.Tensor
    longest_query: int
    longest_key: int


def find_kernel(query: torch.Tensor, value: torch.Tensor, rules: Rules) -> Kernel | None:
    """Torch's kernel where it takes such tensors; None elsewhere."""
    same = query.shape[-1] == value.shape[-1]
    if not (query.is_cuda and query.dtype in _TYPES and rules.plain and same and query.shape[-1] <= 256):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def gathering(segments: Segments, time: int, device: torch.device) -> Gathering:
    """What the kernel is told of a row.

    Args:
        segments: The row's.
        time: How many keys come before the row's own: those of the pass in which prefixes lie, 0 for the row itself.
        device: Where the tensors lie.
    """
    places, queries, keys = [], [0], [0]
    for part in segments.parts:
        if part.prefix:
            places.append(torch.arange(part.prefix_start, part.prefix_stop))
        places.append(torch.arange(time + part.start, time + part.stop))
        queries.append(part.stop)
        keys.append(keys[-1] + part.prefix + part.length)
    return Gathering(
        torch.cat(places).to(device),
        torch.tensor(queries, dtype=torch.int32, device=device),
        torch.tensor(keys, dtype=torch.int32, device=device),
        max(segments.lengths),
        max(part.prefix + part.length for part in segments.parts),
    )


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    rules: Rules,
    kernel: Kernel,
    kept: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Outputs of a row: (1, heads, time, size). Arguments are those of `pieces.attend`, and the kernel."""
    if kept is not None:
        key, value = torch.cat([kept[0], key], 2), torch.cat([kept[1], value], 2)
    before = key.shape[2] - query.shape[2]
    told = segments.once(("gathering", query.device), lambda: gathering(segments, before, query.device))
    output: torch.Tensor = kernel(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1)[told.places],
        value[0].transpose(0, 1)[told.places],
        told.query_bounds,
        told.key_bounds,
        told.longest_query,
        told.longest_key,
        scale=rules.scale,
        # The kernel counts the keys left of a query, this project those that it sees, itself among them.
        window_size=(-1 if rules.window is None else rules.window - 1, 0),
        enable_gqa=True,
    )
    return output.transpose(0, 1)[None]
