"""Preparation as a log grows: seconds, CPU seconds and peak memory of its first files and of all.

    python -m tests.benchmarks.bench_prepare_scale --files 10 30

One log of that many million events, in compressed files of a million each, so that the largest size fits on a disk.
Each size runs in a process of its own; peak memory is that of all its processes together, sampled.
"""

import argparse
import shutil
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from tests.benchmarks.bench_prepare import measure
from tests.benchmarks.feedback_log import feedback_lines

_EVENTS_PER_FILE = 1_000_000


def write_files(folder: Path, files: int, events_per_file: int) -> list[Path]:
    """Write a log in several files, unless all are there; gives their paths."""
    paths = [folder / f"log-{number:03d}.jsonl.zst" for number in range(files)]
    if not all(path.exists() for path in paths):
        lines = feedback_lines(files * events_per_file)
        for path in paths:
            with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
                for line in islice(lines, events_per_file):
                    stream.write(line)
    return paths


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, nargs="+", default=[1, 3], help="sizes, in files")
    parser.add_argument("--events", type=int, default=_EVENTS_PER_FILE, help="events a file")
    parser.add_argument("--folder", type=Path, help="where all that is made lies; a temporary folder else")
    parser.add_argument("--logs", type=Path, help="where the log lies, or is to be kept")
    parser.add_argument("--splits", action="store_true", help="up to the splits, not to the pairs alone")
    arguments = parser.parse_args()
    way = "ours-split" if arguments.splits else "ours"
    with TemporaryDirectory(prefix="prepare-", dir=arguments.folder) as place:
        logs = arguments.logs or Path(place) / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        paths = write_files(logs, max(arguments.files), arguments.events)
        print(f"{'events':>12}{'s':>8}{'CPU s':>8}{'times':>7}{'peak MiB':>10}   made", flush=True)
        least = 0.0
        for files in sorted(arguments.files):
            # A folder of its own stands for the first files: its name is the run's only input.
            part = Path(place) / f"first-{files}"
            part.mkdir()
            for path in paths[:files]:
                (part / path.name).symlink_to(path.resolve())
            found = measure(way, part, Path(place) / f"run-{files}")
            shutil.rmtree(Path(place) / f"run-{files}")
            least = least or found.seconds
            print(
                f"{files * arguments.events:>12,}{found.seconds:>8.1f}{found.cpu_seconds:>8.1f}"
                f"{found.seconds / least:>7.2f}{found.peak_mib:>10.0f}   {found.made}",
                flush=True,
            )


if __name__ == "__main__":
    main()
