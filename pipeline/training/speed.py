"""What training takes of a machine: time, memory, and the share of what the device can multiply."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import torch

from .policy import Counted, Policy

_GIB: Final = 2**30
# Linux forgets a process's peak when 5 is written here: what came before training is not training's.
_CLEAR: Final = Path("/proc/self/clear_refs")


class Speed(NamedTuple):
    """What one step took.

    Attributes:
        tokens_per_second: Tokens of the step's rows, each sequence whole, over the time of the step's work.
        seconds_left: Until the last step at the pace so far, validation and checkpoints included.
        peak_memory_gib: Highest since training began: of the process, or of the GPU's allocator.
        peak_share: FLOP/s of the body's matrix products over `peak_tflops`; None where that is not set or not known.
    """

    tokens_per_second: float
    seconds_left: float
    peak_memory_gib: float
    peak_share: float | None


class SpeedMeter:
    """Measures the steps of one process."""

    def __init__(
        self, policy: Policy, peak_tflops: float | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Begin to measure memory.

        Args:
            policy: The model in training.
            peak_tflops: What the device multiplies at most; None: no share is given.
            clock: Seconds that pass.
        """
        self._policy, self._peak, self._clock = policy, peak_tflops, clock
        self._flops = None if peak_tflops is None else flops_per_token(policy)
        self._seconds = self._began = 0.0
        self._computed = Counted(0, 0)
        self._first = self._total = 0
        _forget_peak(policy.device)

    def begins(self, step: int, total: int) -> None:
        """Training goes on after `step` of `total`."""
        self._first, self._total, self._began = step, total, self._clock()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around a step's work."""
        before, start = self._policy.meter.total, self._clock()
        yield
        self._seconds, after = self._clock() - start, self._policy.meter.total
        self._computed = Counted(*(new - old for new, old in zip(after, before, strict=True)))

    def took(self, step: int, tokens: float) -> Speed:
        """What the step that was timed last took.

        Args:
            step: Counted from 1.
            tokens: Of the step's rows.
        """
        seconds, done = max(self._seconds, 1e-9), max(step - self._first, 1)
        left = (self._clock() - self._began) / done * (self._total - step)
        share = None
        if self._flops is not None and self._peak is not None:
            # Of this step's work alone: validation computes too, and its time is not in `seconds`.
            flops = sum(tokens * each for tokens, each in zip(self._computed, self._flops, strict=True))
            share = flops / seconds / (self._peak * 1e12)
        return Speed(tokens / seconds, left, peak_memory_gib(self._policy.device), share)


class Flops(NamedTuple):
    """Floating-point operations a token in the matrix products of a model's body.

    Head and attention scores are left out, and what is computed again for gradient checkpointing: a lower bound.

    Attributes:
        trained: Of a pass with a gradient.
        measured: Of one without.
    """

    trained: float
    measured: float


def flops_per_token(policy: Policy) -> Flops | None:
    """Two a weight forwards; backwards two for the input's gradient and two for a trained weight's own.

    None where weights are not multiplied once a token each: in mixtures of experts, and packed into 4 bits.
    """
    model = policy.model
    if any(getattr(model.config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    apart = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer}
    body = [weight for weight in model.parameters() if id(weight) not in apart]
    if not all(weight.is_floating_point() for weight in body):
        return None
    every = sum(weight.numel() for weight in body)
    own = sum(weight.numel() for weight in body if weight.requires_grad)
    return Flops(4.0 * every + 2.0 * own, 2.0 * every)


def peak_memory_gib(device: torch.device) -> float:
    """The highest memory since a meter began: the GPU allocator's, or of this process (Linux counts KiB)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        # Not on every system: the peak is then that of the whole command.
        return
