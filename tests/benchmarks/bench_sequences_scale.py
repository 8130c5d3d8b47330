"""The whole stage `sequences` over many short answers: CPU time a row and peak memory as their number grows.

    python -m tests.benchmarks.bench_sequences_scale --answers 10000 100000 1000000

Every prompt has two answers, an unpaired row each and a pair of both. A row is what is tokenised: an answer after its
own prompt, and for KTO most of them after another prompt too. The tokenizer is a tiny one, so that what is measured is
what stands around it. Each size and method runs in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tests.benchmarks.bench_reference_scale import peak_mib
from tests.tiny import tiny_tokenizer
from thumbline.pipeline.config import build_config
from thumbline.pipeline.context import SilentReporter, StageContext
from thumbline.pipeline.identity import as_answer, digest
from thumbline.pipeline.storage.tables import write_tables
from thumbline.pipeline.tables import MESSAGES, SPLIT, polars_schema

TABLES = ("unpaired", "pairs", "splits")
METHODS = ("dpo", "kto")
_BLOCK_PROMPTS = 20_000
_WORDS = [
    "plant",
    "beans",
    "in",
    "may",
    "when",
    "the",
    "soil",
    "is",
    "warm",
    "and",
    "water",
    "them",
    "once",
    "a",
    "week",
    "or",
    "so",
    "thanks",
]


def make_tables(folder: Path, answers: int, words: int) -> None:
    """Tables `unpaired`, `pairs` and `splits` of `answers` answers, each of up to `words` words."""
    numbers = np.sort(np.random.default_rng(0).integers(2**64, size=answers // 2, dtype=np.uint64))
    blocks = (numbers[start : start + _BLOCK_PROMPTS] for start in range(0, len(numbers), _BLOCK_PROMPTS))
    write_tables(folder, (_block(block, words) for block in blocks), TABLES)


def _block(numbers: npt.NDArray[np.uint64], words: int) -> dict[str, pl.DataFrame]:
    draw = np.random.default_rng(numbers[0])
    prompts = pl.DataFrame(
        {
            "prompt_id": [f"{number:032x}" for number in (numbers.astype(object) << 64).tolist()],
            "prompt": [[{"role": "user", "content": text}] for text in _texts(draw, len(numbers), words)],
        },
        schema={"prompt_id": pl.String, "prompt": MESSAGES},
    )
    sides = {
        side: prompts.with_columns(
            response_id=digest(pl.col("prompt_id") + side),
            completion=as_answer(pl.lit(pl.Series(_texts(draw, len(numbers), words)))),
        )
        for side in ("chosen", "rejected")
    }
    unpaired = pl.concat([sides["chosen"].with_columns(label=True), sides["rejected"].with_columns(label=False)])
    pairs = prompts.with_columns(
        *(rows["completion"].alias(side) for side, rows in sides.items()),
        *(rows["response_id"].alias(f"{side}_response_id") for side, rows in sides.items()),
        pair_id="prompt_id",
        pair_source=pl.lit("votes"),
        margin=0.5,
        chosen_better_probability=0.9,
    )
    splits = pl.Series(draw.choice(["train", "train", "train", "test"], size=len(numbers)), dtype=SPLIT)
    made = {
        "unpaired": unpaired.with_columns(weight=1.0, probability_desirable=0.5).sort("prompt_id", "response_id"),
        "pairs": pairs,
        "splits": prompts.with_columns(group_id="prompt_id", split=splits),
    }
    return {name: rows.select(list(polars_schema(name))).cast(polars_schema(name)) for name, rows in made.items()}


def _texts(draw: np.random.Generator, count: int, words: int) -> list[str]:
    chosen = draw.integers(len(_WORDS), size=(count, words)).tolist()
    lengths = draw.integers(max(words // 3, 1), words + 1, size=count).tolist()
    return [" ".join([_WORDS[word] for word in row[:length]]) for row, length in zip(chosen, lengths, strict=True)]


def run_stage(folder: Path, method: str) -> None:
    """The stage on what lies in `folder`; prints what it took."""
    from thumbline.pipeline.stages import sequences

    document = {
        "name": "scale",
        "runs": str(folder),
        "model": str(folder / "model"),
        "events": {"inputs": ["none"]},
        "train": {"method": method},
    }
    place = folder / f"{method}.partial"
    place.mkdir()
    tables = {name: folder / f"{name}.parquet" for name in TABLES}
    context = StageContext(build_config(document, origin="bench"), place, tables, SilentReporter(), folder)
    started = time.process_time()
    result = sequences.run(context)
    seconds = time.process_time() - started
    tokens = result.notes["prompt_tokens"] + result.notes["completion_tokens"]
    print(json.dumps([result.counts.rows_in, tokens, seconds, peak_mib()]))


def measure(answers: int, words: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_tokenizer().save_pretrained(folder / "model")
        (folder / "model" / "config.json").write_text('{"model_type": "llama"}')
        make_tables(folder, answers, words)
        for method in METHODS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_sequences_scale", "--stage", str(folder), method]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows, tokens, seconds, peak = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{answers:>10,} {method:>7} {rows:>10,} {tokens:>13,} {seconds:>8.1f} {1e6 * seconds / rows:>8.0f} "
                f"{peak:>9.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage is not None:
        run_stage(Path(options.stage[0]), options.stage[1])
        return
    print(f"{'answers':>10} {'method':>7} {'rows':>10} {'tokens':>13} {'CPU s':>8} {'us/row':>8} {'peak MiB':>9}")
    for answers in options.answers:
        measure(answers, options.words)


if __name__ == "__main__":
    main()
