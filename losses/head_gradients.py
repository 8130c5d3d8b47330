"""Gradients of a pass over the head, added up tile by tile."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .tiles import Rows, Settings, add_product, blocks, pass_tile, product


class Tokens(NamedTuple):
    """What was scored.

    Attributes:
        hidden_states: (tokens, hidden).
        targets: (tokens,) int64.
        own: (tokens,) float32, d(loss) / d(the target's logit before scale and cap).
    """

    hidden_states: torch.Tensor
    targets: torch.Tensor
    own: torch.Tensor


class HeadGradients:
    """Gradients of hidden states, weight and bias.

    Attributes:
        weight: As the head's, whole once all tiles are added; None where it is not needed.
        bias: Likewise.
    """

    def __init__(
        self,
        tokens: Tokens,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        needed: Sequence[bool],
        kept: Sequence[torch.Tensor],
        settings: Settings,
    ) -> None:
        """Start before the first tile.

        Args:
            tokens: What was scored.
            weight: (vocabulary, hidden).
            bias: (vocabulary,) or None.
            needed: Whether states, weight and bias take a gradient.
            kept: Shares of the first tiles and blocks, in order; the others are computed again.
            settings: How to compute.
        """
        self._tokens, self._head_weight, self._kept, self._settings = tokens, weight, list(kept), settings
        self._hidden = tokens.hidden_states.to(settings.compute_dtype)
        self._seen = 0
        # Tokens by their targets, and where each tile's begin.
        self._order = tokens.targets.argsort()
        edges = torch.arange(0, weight.shape[0] + settings.tile, settings.tile, device=weight.device)
        self._bounds: list[int] = torch.searchsorted(tokens.targets[self._order], edges).tolist()
        self._states = torch.zeros_like(tokens.hidden_states, dtype=torch.float32) if needed[0] else None
        self.weight = torch.empty_like(weight) if needed[1] else None
        self.bias = torch.zeros_like(bias) if bias is not None and needed[2] else None

    def add(self, rows: Rows, factors: torch.Tensor) -> None:
        """Take in the next tile.

        Args:
            rows: Its head rows.
            factors: (tokens,) float32, d(loss) / d(a logit before scale and cap) over that logit's share.
        """
        # A tile's sums are float32, whatever the head's type.
        by_rows = None if self.weight is None else self.weight[rows.part].float()
        by_bias = None if self.bias is None else self.bias[rows.part].float()
        for block in blocks(self._hidden):
            shares, factor = self._shares(rows, block), factors[block, None]
            if self._states is not None:
                self._states[block].addcmul_(factor, product(shares, rows.weight, self._settings))
            if by_rows is not None:
                weighed = (factor * self._tokens.hidden_states[block]).to(shares.dtype)
                add_product(by_rows, shares.T, weighed, self._settings, fresh=block.start == 0)
            if by_bias is not None:
                by_bias += (factor * shares).sum(dim=0)
        self._store(rows.part, by_rows, by_bias)

    def states(self) -> torch.Tensor | None:
        """(tokens, hidden) gradient of the hidden states, once all tiles are added; None where it is not needed."""
        if self._states is None:
            return None
        own_rows = self._head_weight[self._tokens.targets].float()
        return self._states.addcmul_(self._tokens.own[:, None], own_rows).to(self._tokens.hidden_states.dtype)

    def _shares(self, rows: Rows, block: slice) -> torch.Tensor:
        number, self._seen = self._seen, self._seen + 1
        if number < len(self._kept):
            return self._kept[number]
        return pass_tile(self._hidden[block], rows, self._tokens.targets[block], self._settings).shares

    def _store(self, part: slice, by_rows: torch.Tensor | None, by_bias: torch.Tensor | None) -> None:
        """Add the targets' own rows to a tile's sums, and put these where they belong."""
        number = part.start // self._settings.tile
        here = self._order[self._bounds[number] : self._bounds[number + 1]]
        places, own = self._tokens.targets[here] - part.start, self._tokens.own[here]
        if self.weight is not None and by_rows is not None:
            _add_at(by_rows, places, own[:, None] * self._tokens.hidden_states[here])
            _put(self.weight, part, by_rows)
        if self.bias is not None and by_bias is not None:
            _add_at(by_bias, places, own)
            _put(self.bias, part, by_bias)


def _add_at(total: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> None:
    """Add values to the places of a sum, some of which are named twice; in one order on every kind of device."""
    if total.device.type == "cuda":
        total.index_put_((places,), values, accumulate=True)
    else:
        total.index_add_(0, places, values)


def _put(gradient: torch.Tensor, part: slice, values: torch.Tensor) -> None:
    if gradient.dtype != values.dtype:  # Else the values are the gradient's own memory.
        gradient[part] = values
