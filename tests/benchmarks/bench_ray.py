"""Preparation of one log on this machine and over a Ray cluster of its own: seconds, CPU seconds, memory, same bytes.

    python -m tests.benchmarks.bench_ray --events 1000000 --workers 2

Both read with as many workers. CPU seconds and memory are those of all processes of a way, Ray's own servers among
them, sampled; memory that processes share counts once (`Pss`).
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from tests.benchmarks.feedback_log import write_log

_SAMPLE_SECONDS: Final = 0.25
_TICKS: Final = os.sysconf("SC_CLK_TCK")
WAYS: Final = ("local", "ray")


class Measured(NamedTuple):
    """One way: what it took, of the CPU seconds those of the command's own process, and digests of what it made."""

    seconds: float
    cpu_seconds: float
    own_seconds: float
    peak_mib: float
    digests: dict[str, str]


def prepare(way: str, log: str, folder: str, workers: int, until: str) -> None:
    """What the process of one way does: the line up to a stage, digests of its tables on the last line."""
    from thumbline.pipeline.cli.launch import settle_allocator

    settle_allocator()
    from thumbline.pipeline import line
    from thumbline.pipeline.config import build_config

    document: dict[str, Any] = {
        "name": way,
        "runs": folder,
        "model": "none",
        "events": {"inputs": [log], "workers": workers},
        "scale": {"runner": way, "workers": workers},
    }
    digests: dict[str, str] = {}
    for done in line.run(build_config(document, origin="benchmark"), line.select(None, until)):
        digests |= {table: record.sha256 for table, record in done.manifest.outputs.items()}
    print(json.dumps(digests))


def measure(command: list[str]) -> Measured:
    """Run a command and look at all of its processes while it runs."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    used: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        family = descendants(process.pid)
        used |= {pid: seconds for pid in family if (seconds := cpu_seconds(pid)) is not None}
        peak = max(peak, sum(map(resident_mib, family)))
        time.sleep(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - begun
    if process.returncode or process.stdout is None:
        raise SystemExit(f"{command}: ended with {process.returncode}")
    return Measured(
        seconds,
        sum(used.values()),
        used.get(process.pid, 0.0),
        peak,
        json.loads(process.stdout.read().splitlines()[-1]),
    )


def descendants(pid: int) -> list[int]:
    """A process and all that it and its children started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(one for child in children for one in descendants(child))]


def cpu_seconds(pid: int) -> float | None:
    """What a process has used so far; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """Its share of memory."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--until", default="pairs", help="the last stage")
    parser.add_argument("--folder", type=Path, help="where all that is made lies; a temporary folder else")
    parser.add_argument("--log", type=Path, help="where the log lies, or is to be kept")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        prepare(*arguments.way, arguments.workers, arguments.until)
        return
    if importlib.util.find_spec("ray") is None:
        print("ray is not installed: pip install 'thumbline[ray]'")
        return
    with TemporaryDirectory(prefix="ray-", dir=arguments.folder) as place:
        log = arguments.log or Path(place) / "log.jsonl"
        if not log.exists():
            write_log(log, arguments.events)
        print(f"{'way':<8}{'s':>8}{'CPU s':>8}{'own':>8}{'peak MiB':>10}   {arguments.events:,} events", flush=True)
        found = {}
        for way in WAYS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_ray", "--way", way, str(log), place]
            command += ["--workers", str(arguments.workers), "--until", arguments.until]
            one = found[way] = measure(command)
            print(
                f"{way:<8}{one.seconds:>8.1f}{one.cpu_seconds:>8.1f}{one.own_seconds:>8.1f}{one.peak_mib:>10,.0f}",
                flush=True,
            )
        here, there = (found[way] for way in WAYS)
        more = (f"{name} {b / a:.2f}x" for name, a, b in zip(here._fields, here[:4], there[:4], strict=False))
        print(f"ray / local: {', '.join(more)}; tables {'equal' if here.digests == there.digests else 'DIFFER'}")


if __name__ == "__main__":
    main()
