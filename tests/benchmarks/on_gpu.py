"""Everything that is to be known of one GPU, in one run of under ten minutes: head, training, scoring, plans, tests.

    python -m tests.benchmarks.on_gpu --json figures.json
    python -m tests.benchmarks.on_gpu --dry-run            # tiny shapes on any machine: shows that every line runs

Lines are printed as they come. Models have random weights; what is not installed is skipped and said to be; what does
not fit is said not to fit. Both trainers take the same rows in the same batches. A row's tokens are those of its
sequences, a prompt counted with each; `of peak` holds what they take at least, each sequence by itself and nothing
computed again, against this machine's own largest bfloat16 matrix product: whoever computes a prompt once for two
answers, or leaves out padding, is that much nearer to it. Returns 1 where a line failed.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from tests.trl_trainers import quiet

from .gpu import head, planned, scoring, steps
from .gpu.machine import HEADINGS, Deadline, Line, Machine, Way, measured_machine, run_ways
from .gpu.shapes import DRY_SHAPES, SHAPES

PARTS = ("head", "step", "scoring", "plan", "tests")
_WIDTHS = (8, 38, 10, 15, 8, 8, 12, 0)


class Part(NamedTuple):
    """One part of the run, and its share of the time."""

    name: str
    share: float
    ways: Callable[[], Iterator[Way]]


def parts(machine: Machine, measured: Mapping[str, float | None]) -> list[Part]:
    """In the order in which they run; `measured` is filled meanwhile."""
    shapes = DRY_SHAPES if machine.dry else SHAPES
    return [
        Part("head", 0.10, partial(head.ways, machine)),
        Part("step", 0.60, partial(steps.ways, machine, shapes)),
        Part("scoring", 0.12, partial(scoring.ways, machine, shapes[-1])),
        Part("plan", 0.08, partial(planned.ways, machine, shapes, measured)),
    ]


def gpu_tests(seconds: float) -> Line:
    """The tests that need a GPU, as far as time goes."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds), check=False)
    except subprocess.TimeoutExpired:
        return Line("tests", "pytest -m gpu", note="left out: the part's time is up")
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-160:]])[-1]
    # pytest returns 5 where it found none.
    return Line("tests", "pytest -m gpu", note=("" if done.returncode in (0, 5) else "FAILED: ") + last)


def print_line(cells: tuple[str, ...]) -> None:
    """Cells under their headings; text at the left, numbers at the right."""
    placed = [
        cell.ljust(width) if place < 2 or not width else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    print("  ".join(placed).rstrip(), flush=True)


def lines(machine: Machine, budget: float, chosen: list[str]) -> Iterator[Line]:
    """All lines, as they come; what a part leaves of its time goes to those after it."""
    deadline, later = Deadline(budget), 1.0
    measured: dict[str, float | None] = {}
    for part in parts(machine, measured):
        if part.name in chosen:
            own = Deadline(deadline.left * part.share / later)
            for line in run_ways(part.name, part.ways(), machine, own):
                if part.name == "step":
                    measured[line.way] = line.gib
                yield line
        later -= part.share
    if "tests" in chosen and machine.device.type == "cuda":
        yield gpu_tests(deadline.left)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=540.0, help="seconds in all; no way begins after its part's")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[])
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes; figures mean nothing")
    parser.add_argument("--json", type=Path, help="where the lines are kept as well")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        parser.error("no GPU is visible here; --dry-run shows on a CPU that every line runs")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    quiet()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = measured_machine(device, options.dry_run)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    print(f"{name}, torch {torch.__version__}: {machine.peak / 1e12:.3g} TFLOP/s in a bfloat16 matrix product")
    print_line(HEADINGS)
    done = []
    for line in lines(machine, options.budget, options.parts or list(PARTS)):
        done.append(line)
        print_line(line.cells(machine.peak))
        if options.json:
            options.json.write_text(json.dumps({"peak": machine.peak, "lines": [one._asdict() for one in done]}))
    return int(any(line.note.startswith("FAILED") for line in done))


if __name__ == "__main__":
    sys.exit(main())
