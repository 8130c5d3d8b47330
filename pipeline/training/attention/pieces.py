"""Attention over segments, one call a segment: on a CPU, and wherever no kernel takes all of them at once."""

from dataclasses import dataclass
from typing import Final

import torch

from .segments import Masks, Segment, Segments
from .short import ShortAttention

# Scores a head, queries times keys, up to which probabilities are kept in bfloat16 on a CPU: 2 MiB a head, half of them
# where queries are all of the keys. Plain products are faster than the fused kernel beyond it too.
_SHORT: Final = 2**20


@dataclass(frozen=True)
class Rules:
    """How a layer's scores become weights.

    Attributes:
        scale: Factor on scores.
        window: Keys that a query sees, itself among them; None for all before it.
        soft_cap: Scores become soft_cap tanh(scores / soft_cap) (Gemma 2); None for none.
        sinks: (heads,) scores of a key without a value that every query sees (gpt-oss); None for none.
    """

    scale: float
    window: int | None = None
    soft_cap: float | None = None
    sinks: torch.Tensor | None = None

    @property
    def plain(self) -> bool:
        """Whether fused kernels follow them."""
        return self.soft_cap is None and self.sinks is None


class Source:
    """Keys and values, or queries, split at the segments' bounds once: the gradient of a split is one concatenation."""

    def __init__(self, tensors: tuple[torch.Tensor, torch.Tensor], segments: Segments) -> None:
        """Take keys and values of a row, (1, heads, time, size) each."""
        split = (torch.split(tensor, segments.lengths, dim=2) for tensor in tensors)
        self._parts = dict(zip((part.start for part in segments.parts), zip(*split, strict=True), strict=True))

    def own(self, part: Segment) -> tuple[torch.Tensor, torch.Tensor]:
        """A segment's own keys and values."""
        return self._parts[part.start]

    def prefix(self, part: Segment, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Its prefix's, which is one other segment, from the prefix's token `first` on."""
        key, value = self._parts[part.prefix_start]
        return key[:, :, first:], value[:, :, first:]


class KeptSource:
    """Keys and values that another pass has kept."""

    def __init__(self, tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Take those of a row."""
        self._key, self._value = tensors

    def prefix(self, part: Segment, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A segment's prefix from its token `first` on."""
        places = slice(part.prefix_start + first, part.prefix_stop)
        return self._key[:, :, places], self._value[:, :, places]


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    rules: Rules,
    kept: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Outputs of a row: (1, heads, time, value size).

    Args:
        query: (1, heads, time, size).
        key: (1, key heads, time, size), of one type with queries and values.
        value: (1, key heads, time, value size).
        segments: What the row is made of.
        rules: The layer's.
        kept: Keys and values of the row that the prefixes lie in; None where they lie in this one.
    """
    own = Source((key, value), segments)
    prefixes = own if kept is None else KeptSource(kept)
    outputs = []
    for part, queries in zip(segments.parts, torch.split(query, segments.lengths, dim=2), strict=True):
        keys, values = own.own(part)
        if part.prefix:
            # What no query of the segment sees is left out.
            first = 0 if rules.window is None else max(0, part.prefix - rules.window + 1)
            before = prefixes.prefix(part, first)
            keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        outputs.append(_attend(queries, keys, values, segments.masks, rules))
    return torch.cat(outputs, 2)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, masks: Masks, rules: Rules) -> torch.Tensor:
    """Outputs of one segment, whose queries are the last of its keys."""
    queries, keys, device = query.shape[2], key.shape[2], query.device
    window = None if rules.window is None or rules.window >= keys else rules.window
    if not rules.plain:
        return _by_scores(query, key, value, masks.allowed(queries, keys, window, device), rules)
    if device.type == "cpu" and query.dtype == torch.bfloat16 and queries * keys <= _SHORT:
        bias = masks.bias(queries, keys, window, query.dtype, device)
        short: torch.Tensor = ShortAttention.apply(query, key, value, bias, rules.scale)  # type: ignore[no-untyped-call]
        return short
    whole = queries == keys and window is None
    mask = None if whole else masks.allowed(queries, keys, window, device)
    if mask is not None and device.type == "cuda":
        # Masked, the memory-efficient kernel takes as many heads of keys as of queries.
        key, value = _repeated(key, query), _repeated(value, query)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=whole, scale=rules.scale, enable_gqa=True
    )


def _by_scores(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, rules: Rules
) -> torch.Tensor:
    """The definition written out, for rules that no fused kernel follows."""
    scores = query @ _repeated(key, query).transpose(2, 3) * rules.scale
    if rules.soft_cap is not None:
        scores = rules.soft_cap * torch.tanh(scores / rules.soft_cap)
    scores = scores.masked_fill(~seen, float("-inf"))
    if rules.sinks is not None:
        sinks = rules.sinks.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)[..., : key.shape[2]]
    return weights @ _repeated(value, query)


def _repeated(tensor: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Keys or values once for each of the queries' heads."""
    return tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1)
