"""Who sees whom in a row of many sequences: each segment sees its prefix, and itself up to each token."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch

T = TypeVar("T")


class Segment(NamedTuple):
    """Neighbouring tokens of a row, of which each attends to a prefix, to those before it and to itself.

    Attributes:
        start: Its first token's place in the row.
        stop: The place after its last.
        prefix_start: The prefix's first place, in this row or in the one whose keys are kept; a completion's prompt.
        prefix_stop: The place after its last; equal to `prefix_start` for a sequence that begins here.
    """

    start: int
    stop: int
    prefix_start: int = 0
    prefix_stop: int = 0

    @property
    def length(self) -> int:
        """Its own tokens."""
        return self.stop - self.start

    @property
    def prefix(self) -> int:
        """Tokens of the prefix."""
        return self.prefix_stop - self.prefix_start


class Kept:
    """Keys and values of one forward pass, layer by layer and without their gradient, for a pass that reads them."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._layers: dict[Hashable, tuple[torch.Tensor, torch.Tensor]] = {}
        self._open = True

    def put(self, layer: Hashable, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep a layer's keys and values, (1, heads, time, head size) each; not once `close` was called."""
        # A checkpointed layer runs again in the backward pass.
        if self._open:
            self._layers[layer] = key.detach(), value.detach()

    def take(self, layer: Hashable) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's keys and values; they are let go."""
        return self._layers.pop(layer)

    def close(self) -> None:
        """Keep nothing from now on, and let go of all."""
        self._open = False
        self._layers.clear()


@dataclass(frozen=True)
class Segments:
    """The segments of a row; what attention needs beside queries, keys and values.

    Attributes:
        parts: In the order of the row, which they cover without a gap.
        keeps: Where each layer's keys and values are put for a later pass; None for none.
        prefixes: Another pass's keys and values, in which all prefixes lie; None where they lie in this row.
    """

    parts: tuple[Segment, ...]
    keeps: Kept | None = None
    prefixes: Kept | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each segment."""
        return [part.length for part in self.parts]

    @cached_property
    def masks(self) -> "Masks":
        """The masks of this row, shared by its layers."""
        return Masks()

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave when it was first asked for under this name: the same for all layers."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


class Masks:
    """Causal masks in which the last query sees the last key.

    All of a type and window are the lower right corner of the largest that was asked for.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._made: dict[Hashable, torch.Tensor] = {}

    def allowed(self, queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
        """(queries, keys) bool, True where a query sees a key.

        Args:
            queries: How many there are.
            keys: How many there are, at least as many; the queries' own come last.
            window: A query sees itself and the `window` - 1 keys before it; None for all before it.
            device: Where the mask lies.
        """
        return self._corner(queries, keys, window, torch.bool, device)

    def bias(
        self, queries: int, keys: int, window: int | None, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """(queries, keys) of a floating type: 0 where `allowed` is True, minus infinity elsewhere."""
        return self._corner(queries, keys, window, dtype, device)

    def _corner(
        self, queries: int, keys: int, window: int | None, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        name = (window, dtype, device)
        whole = self._made.get(name)
        if whole is None or whole.shape[0] < queries or whole.shape[1] < keys:
            most = (queries, keys) if whole is None else (max(queries, whole.shape[0]), max(keys, whole.shape[1]))
            whole = self._made[name] = _mask(*most, window, dtype, device)
        return whole[whole.shape[0] - queries :, whole.shape[1] - keys :]


def _mask(queries: int, keys: int, window: int | None, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    last = torch.arange(keys - queries, keys, device=device)[:, None]
    place = torch.arange(keys, device=device)[None]
    seen = place <= last
    if window is not None:
        seen &= last - place < window
    if dtype == torch.bool:
        return seen
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, float("-inf"))
