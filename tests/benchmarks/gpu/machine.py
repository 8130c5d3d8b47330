"""The device that is measured, its clock and memory, and the lines of the table."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

_GIB = 2**30
HEADINGS = ("part", "way", "ms", "rows' tokens/s", "of peak", "GiB", "planned GiB", "note")


class Line(NamedTuple):
    """One row of the table.

    Attributes:
        part: What was measured.
        way: How.
        seconds: Of one step or pass; None where it did not run.
        tokens: Tokens of all its rows, a prompt counted with each of its completions; None where none are meant.
        flops: What it takes at least, without what is computed again; None where it is not counted.
        gib: Most memory allocated on the device; None on a CPU.
        planned_gib: The same as `thumbline plan` has it; None where it does not say.
        note: What else is to be known, such as why it did not run.
    """

    part: str
    way: str
    seconds: float | None = None
    tokens: int | None = None
    flops: float | None = None
    gib: float | None = None
    planned_gib: float | None = None
    note: str = ""

    def cells(self, peak: float) -> tuple[str, ...]:
        """As it is printed.

        Args:
            peak: FLOP/s that `flops` are held against.
        """
        seconds = self.seconds
        rate = None if seconds is None or self.tokens is None else self.tokens / seconds
        share = None if seconds is None or self.flops is None else self.flops / seconds / peak
        return (
            self.part,
            self.way,
            "" if seconds is None else f"{1000 * seconds:,.1f}",
            "" if rate is None else f"{rate:,.0f}",
            "" if share is None else f"{share:.1%}",
            "" if self.gib is None else f"{self.gib:.2f}",
            "" if self.planned_gib is None else f"{self.planned_gib:.2f}",
            self.note,
        )


@dataclass(frozen=True)
class Machine:
    """A device and the FLOP/s that its largest bfloat16 matrix products reach.

    Attributes:
        device: Where everything runs.
        peak: FLOP/s, measured.
        dry: Whether shapes are tiny: then figures mean nothing, and the point is that every line runs.
    """

    device: torch.device
    peak: float
    dry: bool

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        """As plans name it."""
        return "cuda" if self.device.type == "cuda" else "cpu"

    def wait(self) -> None:
        """Until what was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget(self) -> None:
        """Free what nothing holds, and begin to watch for the peak."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def gib(self) -> float | None:
        """The peak since `forget`."""
        return torch.cuda.max_memory_allocated(self.device) / _GIB if self.device.type == "cuda" else None

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Of one call, the mean of several after one that is not counted."""
        work()
        self.wait()
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        self.wait()
        return (time.perf_counter() - started) / repeats


def measured_machine(device: torch.device, dry: bool) -> Machine:
    """The device with its measured peak: a square bfloat16 product, large enough to fill it."""
    size = 256 if dry else 8192
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    machine = Machine(device, 1.0, dry)
    seconds = machine.seconds(lambda: left @ right, 3 if dry else 50)
    return Machine(device, 2.0 * size**3 / seconds, dry)


class Deadline:
    """Ends a part in time: a way that would begin after it is left out, and said to be."""

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


# One way of a part: its name, and what measures it.
Way = tuple[str, Callable[[], Line]]


def run_ways(part: str, ways: Iterator[Way], machine: Machine, deadline: Deadline) -> Iterator[Line]:
    """Each way's line; one that does not fit or fails has its reason, and those after it run all the same."""
    for name, measure in ways:
        if deadline.left <= 0:
            yield Line(part, name, note="left out: the part's time is up")
            continue
        machine.forget()
        try:
            yield measure()
        except torch.OutOfMemoryError:
            yield Line(part, name, note="does not fit")
        except (ImportError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, OSError) as error:
            first = str(error).strip().splitlines()[:1]
            yield Line(part, name, note=f"FAILED: {type(error).__name__}: {first[0][:160] if first else ''}")
