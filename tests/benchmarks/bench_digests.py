"""What it costs to hold a table against the digest in its manifest before it is read.

    python -m tests.benchmarks.bench_digests --megabytes 100

CPU-seconds of reading a table of token ids: without a manifest, with one for the first time, and again, when the
digest is kept by the file's identity and times.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from thumbline.pipeline.storage import digests
from thumbline.pipeline.storage.manifests import MANIFEST, Counts, Manifest, manifest_text
from thumbline.pipeline.storage.tables import read_table, write_table
from thumbline.pipeline.tables import polars_schema

_TABLE: Final = "sequences"
_TOKENS: Final = 512
_VOCABULARY: Final = 50_000
# Of a token id in a file, after compression; and of digests that are kept: a file has to be this old.
_BYTES: Final = 2.1
_SETTLED_SECONDS: Final = 2.5
_REPEATS: Final = 3


def rows(count: int) -> pl.DataFrame:
    """Sequences of random token ids, half of them the prompt's."""
    drawn = np.random.default_rng(0).integers(0, _VOCABULARY, (count, _TOKENS), dtype=np.int32)
    half = _TOKENS // 2
    columns = {
        "sequence_id": [f"{place:032x}" for place in range(count)],
        "prompt_token_ids": pl.Series(drawn[:, :half]).cast(pl.List(pl.Int32)),
        "completion_token_ids": pl.Series(drawn[:, half:]).cast(pl.List(pl.Int32)),
        "prompt_token_count": [half] * count,
        "completion_token_count": [half] * count,
    }
    return pl.DataFrame(columns).select(list(polars_schema(_TABLE)))


def _seconds(path: Path) -> float:
    before = time.process_time()
    read_table(path, _TABLE)
    return time.process_time() - before


def main() -> int:
    """Print CPU-seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THUMBLINE_CACHE"] = f"{folder}/cache"
        path = Path(folder) / f"{_TABLE}.parquet"
        record = write_table(path, _TABLE, rows(max(1, int(asked.megabytes * 1e6 / _TOKENS / _BYTES))))
        time.sleep(_SETTLED_SECONDS)
        plain = min(_seconds(path) for _ in range(_REPEATS))
        manifest = Manifest(
            stage=_TABLE, fingerprint="", version=1, config={}, inputs={}, outputs={_TABLE: record},
            counts=Counts(rows_in=record.rows, rows_out=record.rows), seconds=0.0, finished_at="",
        )  # fmt: skip
        path.with_name(MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        first = min(_first(path, Path(folder) / "cache") for _ in range(_REPEATS))
        again = min(_again(path) for _ in range(_REPEATS))
        size = path.stat().st_size / 1e6
    print(f"{size:.0f} MB of {_TABLE}, {record.rows:,} rows: read in {plain:.2f} CPU-s without a manifest")
    for what, seconds in (("the first time", first), ("again", again)):
        more = 1e3 * (seconds - plain) / size
        print(f"held against its digest, {what}: {seconds:.2f} CPU-s, {seconds / plain:.2f} times ({more:.1f} ms a MB)")
    return 0


def _first(path: Path, cache: Path) -> float:
    """With no digest kept, neither by this process nor in the cache."""
    digests._known.clear()
    for entry in cache.rglob("*.json"):
        entry.unlink()
    return _seconds(path)


def _again(path: Path) -> float:
    """As another process that finds it in the cache."""
    digests._known.clear()
    return _seconds(path)


if __name__ == "__main__":
    sys.exit(main())
