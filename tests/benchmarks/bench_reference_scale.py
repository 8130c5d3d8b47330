"""The whole reference stage over many short sequences: CPU time a sequence and peak memory as their number grows.

    python -m tests.benchmarks.bench_reference_scale --sequences 10000 100000 1000000

A model of a few thousand parameters, so that what is measured is everything around a model: reading the table,
putting it in order, feeding, storing, joining. Each size runs in a process of its own; a second process does it again
with everything stored, a third after a tenth of the sequences was replaced by new ones.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from thumbline.pipeline.config import build_config
from thumbline.pipeline.context import SilentReporter, StageContext
from thumbline.pipeline.engines.encoded import ENTRY_COLUMNS, Encoded, sequence_columns
from thumbline.pipeline.storage.parquet import write_parquet

_BLOCK = 50_000
_VOCABULARY = 256
# Where the numbers of rows begin that no first table has.
_NEW = 10**9


class Measured(NamedTuple):
    cpu_seconds: float
    peak_mib: float
    scored: int


def make_table(path: Path, count: int, new: int = 0) -> int:
    """Table `sequences`: two completions a prompt, 8 to 24 tokens of each; returns its tokens.

    Args:
        path: Where it goes.
        count: Its sequences.
        new: How many of them are none of the table that has `new=0`.
    """
    ranges = [(0, count - new), (_NEW, _NEW + new)]
    blocks = [
        _block(start, min(start + _BLOCK, stop)) for first, stop in ranges for start in range(first, stop, _BLOCK)
    ]
    table = pl.concat(blocks).sort("sequence_id")
    write_parquet(path, table)
    return int((table["prompt_token_count"] + table["completion_token_count"]).sum())


def _block(start: int, stop: int) -> pl.DataFrame:
    # A shorter block is the beginning of a longer one.
    lengths = np.random.default_rng([start, 0]).integers(8, 25, size=(stop - start, 2)).tolist()
    ids = np.random.default_rng([start, 1]).integers(2, _VOCABULARY, size=(stop - start, 48)).tolist()
    # Rows of a pair share their prompt.
    encoded = [
        Encoded(ids[row - row % 2][: lengths[row - row % 2][0]], ids[row][24 : 24 + length], "prefix")
        for row, (_, length) in enumerate(lengths)
    ]
    return sequence_columns(pl.DataFrame({"row": range(start, stop)}), encoded).drop("row", *ENTRY_COLUMNS)


def save_model(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from tests.tiny import tiny_tokenizer

    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    disable_progress_bar()
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def run_stage(folder: Path) -> None:
    """The stage on what lies in `folder`; prints what it took."""
    from thumbline.pipeline.stages import reference

    document = {
        "name": "scale",
        "runs": str(folder),
        "model": str(folder / "model"),
        "events": {"inputs": ["none"]},
        "reference": {"engine": "hf", "dtype": "float32", "shard_rows": 4096, "batch_tokens": 16384},
    }
    place = folder / "reference.partial"
    place.mkdir(exist_ok=True)
    tables = {"sequences": folder / "sequences.parquet"}
    context = StageContext(build_config(document, origin="bench"), place, tables, SilentReporter(), folder)
    started = time.process_time()
    result = reference.run(context)
    seconds = time.process_time() - started
    print(json.dumps([seconds, peak_mib(), result.notes["scored"]]))


def peak_mib() -> float:
    """Most memory that this process has held; what getrusage says begins with the parent's."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def measure(folder: Path) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.bench_reference_scale", "--stage", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def measure_size(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "model")
        tokens = make_table(folder / "sequences.parquet", count)
        show(count, tokens, "first", measure(folder))
        show(count, tokens, "all stored", measure(folder))
        make_table(folder / "sequences.parquet", count, new=count // 10)
        show(count, tokens, "some new", measure(folder))


def show(count: int, tokens: int, label: str, found: Measured) -> None:
    print(
        f"{count:>10,} {tokens:>12,} {label:>11} {found.scored:>10,} {found.cpu_seconds:>9.1f} "
        f"{1e6 * found.cpu_seconds / count:>10.0f} {found.peak_mib:>9.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage is not None:
        run_stage(options.stage)
        return
    print(f"{'sequences':>10} {'tokens':>12} {'run':>11} {'scored':>10} {'CPU s':>9} {'us/seq.':>10} {'peak MiB':>9}")
    for count in options.sequences:
        measure_size(count)


if __name__ == "__main__":
    main()
