"""CPU-seconds of `thumbline prepare` on logs that are ten times as large in one dimension.

    python -m tests.benchmarks.bench_growth --large 10 --only files

Each log is prepared in a process of its own, of one thread and without workers, which start from a certain size on;
what ten rows take is taken off. Of short runs the least of three is taken: others on the machine only add. Ten times
the size should take at most twelve times the CPU-seconds. Without `--large` each size takes seconds; with `--large 10`
the larger one of each has 1,000,000 events, or 10,000 files, or answers of 1 MB.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

MOST: Final = 12.0
_STEP: Final = 10
# Less than this is the machine's mood.
_LEAST_SECONDS: Final = 0.3
_TIMES: Final = 3
Row = dict[str, Any]


def _row(number: int, prompt: str, answer: str, user: str, **more: Any) -> Row:
    votes = {"feedback": "up" if random.Random(number).random() < 0.5 else "down"}
    return {"event_id": f"e{number}", "user_id": user, "prompt": prompt, "response": answer, **votes, **more}


def _events_of_one_prompt(size: int) -> Iterator[Row]:
    return (_row(i, "the prompt", f"answer {i % 50}", f"u{i % 1000}") for i in range(size))


def _answers_of_one_prompt(size: int) -> Iterator[Row]:
    return (_row(i, "the prompt", f"answer {i}", f"u{i % 1000}") for i in range(size))


def _prompts_of_one_event(size: int) -> Iterator[Row]:
    return (_row(i, f"prompt {i}", f"answer {i}", f"u{i % 1000}") for i in range(size))


def _equal_answers(size: int) -> Iterator[Row]:
    return (_row(i, f"prompt {i}", "the answer", f"u{i % 1000}") for i in range(size))


def _users(size: int) -> Iterator[Row]:
    return (_row(i, f"prompt {i % 500}", f"answer {i % 7}", f"u{i}") for i in range(size))


def _files(size: int) -> Iterator[Row]:
    return (_row(i, f"prompt {i // 2}", f"answer {i}", f"u{i % 1000}") for i in range(size * 5))


def _columns(size: int) -> Iterator[Row]:
    return (_row(i, f"prompt {i}", f"answer {i}", "u", **{f"c{j}": j for j in range(size)}) for i in range(200))


def _length(size: int) -> Iterator[Row]:
    texts = (f"word{i} " * (size // 6) for i in range(20))
    return (_row(i, f"prompt {i // 2}", text, f"u{i}") for i, text in enumerate(texts))


# The smaller size of each.
DIMENSIONS: Final[dict[str, tuple[int, Callable[[int], Iterator[Row]]]]] = {
    "events of one prompt": (10_000, _events_of_one_prompt),
    "answers of one prompt": (10_000, _answers_of_one_prompt),
    "prompts of one event": (10_000, _prompts_of_one_event),
    "equal answers": (10_000, _equal_answers),
    "users": (10_000, _users),
    "files": (100, _files),
    "columns": (100, _columns),
    "length of a text": (10_000, _length),
}


def _write(folder: Path, dimension: str, size: int) -> None:
    rows = DIMENSIONS[dimension][1](size)
    each = 5 if dimension == "files" else None
    lines = [json.dumps(row) + "\n" for row in rows]
    for number, start in enumerate(range(0, len(lines), each or len(lines))):
        (folder / f"log-{number:05}.jsonl").write_text("".join(lines[start : start + (each or len(lines))]))


def seconds(dimension: str, size: int) -> float:
    """CPU-seconds that preparing a log takes, from its start to its data set."""
    with tempfile.TemporaryDirectory() as place:
        logs = Path(place) / "logs"
        logs.mkdir()
        _write(logs, dimension, size)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "thumbline.pipeline.cli.main", "prepare", str(logs), "-o", f"{place}/out"]
        threads = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
        settings = ["--set", "events.format=thumbs_jsonl", "--set", "events.workers=1"]
        subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL, env=os.environ | threads)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print a line a dimension; 1 where one grows faster than it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=1, help="sizes are so many times as large")
    parser.add_argument("--only", choices=list(DIMENSIONS))
    asked = parser.parse_args()
    failed = False
    for dimension in [asked.only] if asked.only else list(DIMENSIONS):
        size = DIMENSIONS[dimension][0] * asked.large
        start, begun = (min(seconds(dimension, of) for _ in range(_TIMES)) for of in (10, size))
        small, large = begun - start, seconds(dimension, size * _STEP) - start
        ratio = large / max(small, _LEAST_SECONDS)
        failed |= ratio > MOST
        print(f"{dimension:24}{size:>10,}{small:8.2f} s{size * _STEP:>12,}{large:8.2f} s{ratio:7.1f} times", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
