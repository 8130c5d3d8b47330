"""What a run takes on a cluster, from rates that are stated: bytes, tasks, cores and hours, GPUs and hours, money.

    python -m tests.benchmarks.cluster_sizes --events 1e9 --sequences 1e8

Arithmetic alone: the rates come from other benchmarks (`bench_ray`, `bench_prepare`, `gpu/`) or from a plan, and prices
from an offer at hand. Each line says what it is made of.
"""

import argparse
import math
from typing import NamedTuple

_HOUR = 3600.0
_TERA = 1e12


class Rates(NamedTuple):
    """What was measured, or is stated.

    Attributes:
        line_bytes: Of an event in a log that is not compressed.
        written_bytes: Of an event, in files that pass between tasks and in tables together.
        task_seconds: CPU seconds a million events, of reading and of making tables: what tasks share.
        own_seconds: CPU seconds a million events of the rest, in the command's own process.
        task_bytes: Of input that a task reads (`events.unit_bytes`).
        flops: Floating-point operations of a sequence, by `2 P T`.
        sustained: Floating-point operations a second that a GPU sustains.
        core_price: Of a core for an hour.
        gpu_price: Of a GPU for an hour.
    """

    line_bytes: float
    written_bytes: float
    task_seconds: float
    own_seconds: float
    task_bytes: float
    flops: float
    sustained: float
    core_price: float
    gpu_price: float


def preparation(events: float, cores: int, rates: Rates) -> list[tuple[str, str]]:
    """Lines of the table for a log."""
    millions = events / 1e6
    shared, own = millions * rates.task_seconds / _HOUR, millions * rates.own_seconds / _HOUR
    hours = shared / cores + own
    return [
        ("log, not compressed", f"{events * rates.line_bytes / _TERA:,.2f} TB"),
        ("files between tasks, and tables", f"{events * rates.written_bytes / _TERA:,.2f} TB"),
        ("tasks", f"{math.ceil(events * rates.line_bytes / rates.task_bytes):,}"),
        ("CPU hours of tasks", f"{shared:,.1f}"),
        ("CPU hours of the command itself", f"{own:,.1f}"),
        (f"hours on {cores} cores", f"{hours:,.1f}"),
        ("money", f"{hours * cores * rates.core_price:,.0f}"),
    ]


def scoring(sequences: float, gpus: int, rates: Rates) -> list[tuple[str, str]]:
    """Lines of the table for log-probs under one model."""
    rows = rates.sustained / rates.flops
    hours = sequences / rows / _HOUR
    return [
        ("sequences a GPU and second", f"{rows:,.0f}"),
        ("GPU hours", f"{hours:,.0f}"),
        (f"hours on {gpus} GPUs", f"{hours / gpus:,.1f}"),
        ("money", f"{hours * rates.gpu_price:,.0f}"),
    ]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=float, default=1e9)
    parser.add_argument("--sequences", type=float, default=1e8)
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--gpus", type=int, default=16)
    parser.add_argument("--line-bytes", type=float, default=1150.0, help="of an event in the log")
    parser.add_argument("--written-bytes", type=float, default=900.0, help="of an event, between tasks and in tables")
    parser.add_argument("--task-seconds", type=float, default=30.0, help="CPU s a million events in tasks")
    parser.add_argument("--own-seconds", type=float, default=12.0, help="CPU s a million events in the command itself")
    parser.add_argument("--task-bytes", type=float, default=256 * 2**20, help="events.unit_bytes")
    parser.add_argument("--parameters", type=float, default=8.0e9, help="of the model, embeddings left out")
    parser.add_argument("--tokens", type=float, default=256.0, help="of a sequence, its share of the prompt's included")
    parser.add_argument("--tflops", type=float, default=593.0, help="that a GPU sustains")
    parser.add_argument("--core-price", type=float, default=0.04, help="a core and hour")
    parser.add_argument("--gpu-price", type=float, default=3.5, help="a GPU and hour")
    given = parser.parse_args()
    rates = Rates(
        given.line_bytes,
        given.written_bytes,
        given.task_seconds,
        given.own_seconds,
        given.task_bytes,
        2 * given.parameters * given.tokens,
        given.tflops * _TERA,
        given.core_price,
        given.gpu_price,
    )
    tables = {
        f"{given.events:,.0f} events": preparation(given.events, given.cores, rates),
        f"{given.sequences:,.0f} sequences": scoring(given.sequences, given.gpus, rates),
    }
    for title, lines in tables.items():
        print(title)
        for name, value in lines:
            print(f"  {name:<36}{value:>12}")


if __name__ == "__main__":
    main()
