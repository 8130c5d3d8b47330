"""bfloat16 weights that are trained: a library's optimiser steps a float32 copy of each, and the copy is rounded back.

bfloat16 keeps 8 bits of a value, so a step below 1/512 of a weight is rounded away, step after step. Either the copy
is kept, and small steps add up in it (`master`), or a weight takes one of its two neighbours by chance, the nearer one
more often, so that small steps add up on average (`stochastic`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch

Rounding = Literal["stochastic", "master"]
# What a weight, and its group in an optimiser, call the multiple of the run's learning rate that it learns at.
RATE_FACTOR: Final = "rate_factor"
# Bits of a float32 below those that bfloat16 keeps.
_LOW_BITS = 16
# Values that are rounded at a time: the draws and what is made of them take 14 bytes each, 56 MiB.
_BLOCK = 2**22


def stochastic_rounded(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each value's lower or upper bfloat16 neighbour, so that the mean over draws is the value.

    Args:
        values: float32, of any shape.
        generator: Where the draws come from, on the device of the values.

    Returns:
        bfloat16 of the same shape; NaN stays NaN.
    """
    # A bfloat16 is the upper half of a float32: a random lower half is added, carries, and is cut off.
    draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64, device=values.device)
    draws.random_(-(2**63), None, generator=generator)
    noise = draws.view(torch.int16)[: values.numel()].to(torch.int32).bitwise_and_(2**_LOW_BITS - 1)
    bits = noise.view(values.shape).add_(values.contiguous().view(torch.int32)).bitwise_and_(-(2**_LOW_BITS))
    # The sum would carry out of a NaN whose bits are all ones, which is what GPUs make.
    return torch.where(values.isnan(), values, bits.view(torch.float32)).to(torch.bfloat16)


def round_into(weight: torch.Tensor, values: torch.Tensor, generator: torch.Generator) -> None:
    """Give a weight its values, rounded by chance a block of rows at a time: draws take more room than the values.

    Args:
        weight: bfloat16; changed in place.
        values: float32, of the same shape.
        generator: As above.
    """
    if not weight.dim():
        weight, values = weight[None], values[None]
    rows = max(1, _BLOCK * len(weight) // weight.numel())
    for part, its_values in zip(torch.split(weight, rows), torch.split(values, rows), strict=True):
        part.copy_(stochastic_rounded(its_values, generator))


@dataclass
class _Part:
    """One weight of the model, what its optimiser steps, and that optimiser.

    Attributes:
        weight: The model's.
        stepped: The weight itself, or a float32 copy of it, that holds no numbers between steps where it is not kept.
        optimizer: Steps `stepped` alone.
    """

    weight: torch.Tensor
    stepped: torch.nn.Parameter
    optimizer: torch.optim.Optimizer

    @property
    def copied(self) -> bool:
        """Whether what is stepped is a copy."""
        return self.stepped is not self.weight

    def step(self, rate: float) -> None:
        """Step on the weight's gradient."""
        group = self.optimizer.param_groups[0]
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)
        if self.copied:
            assert self.weight.grad is not None
            self.stepped.grad = self.weight.grad.float()
        self.optimizer.step()
        if self.copied:
            self.stepped.grad = None


class WeightByWeight(torch.optim.Optimizer):
    """A library's optimiser for each weight, so that kinds may differ and only one float32 copy is made at a time.

    A copy that is rounded by chance draws from the seed and the number of the step: a resumed run draws what an
    undisturbed one would.
    """

    def __init__(
        self,
        weights: Sequence[torch.nn.Parameter],
        make: Callable[[torch.nn.Parameter, torch.nn.Parameter], torch.optim.Optimizer],
        *,
        rounding: Rounding,
        rate: float,
        seed: int,
    ) -> None:
        """Make the optimisers.

        Args:
            weights: What is trained; those that are not float32 are stepped as float32 copies.
            make: Gives the optimiser of one weight, from the weight and what is stepped for it.
            rounding: What becomes of a copy after its step.
            rate: First learning rate; that of `param_groups` is what counts.
            seed: Of the draws.
        """
        super().__init__(weights, {"lr": rate})
        self._rounding, self._seed, self._steps = rounding, seed, 0
        self._parts = [self._part(weight, make) for weight in weights]

    def _part(self, weight: torch.nn.Parameter, make: Any) -> _Part:
        if weight.dtype == torch.float32:
            return _Part(weight, weight, make(weight, weight))
        copy = torch.nn.Parameter(weight.detach().float())
        optimizer = make(weight, copy)
        if self._rounding == "stochastic":
            _empty(copy)
        return _Part(weight, copy, optimizer)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every weight that has a gradient."""
        assert closure is None
        group = self.param_groups[0]
        generator = self._generator(self._parts[0].weight.device)
        for part in self._parts:
            if part.weight.grad is None:
                continue
            if part.copied and self._rounding == "stochastic":
                part.stepped.data = part.weight.float()
            part.step(group["lr"])
            if part.copied:
                self._round(part, generator)
        self._steps += 1

    def _round(self, part: _Part, generator: torch.Generator) -> None:
        if self._rounding == "master":
            part.weight.copy_(part.stepped)
        else:
            round_into(part.weight, part.stepped, generator)
            _empty(part.stepped)

    def _generator(self, device: torch.device) -> torch.Generator:
        """The draws of this step."""
        state = np.random.SeedSequence([self._seed, self._steps]).generate_state(1, np.uint64)
        return torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1)))

    def state_dict(self) -> dict[str, Any]:
        """Steps done, each optimiser's state, and the copies that are kept."""
        kept = self._rounding == "master"
        return {
            "steps": self._steps,
            "optimizers": [part.optimizer.state_dict() for part in self._parts],
            "masters": [part.stepped.detach() for part in self._parts if kept and part.copied],
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave of an optimiser like this one."""
        self._steps = state_dict["steps"]
        for part, state in zip(self._parts, state_dict["optimizers"], strict=True):
            part.optimizer.load_state_dict(state)
        if self._rounding == "master":
            copies = [part.stepped for part in self._parts if part.copied]
            for copy, saved in zip(copies, state_dict["masters"], strict=True):
                copy.copy_(saved)


def _empty(copy: torch.nn.Parameter) -> None:
    copy.data = copy.data.new_empty(0)
