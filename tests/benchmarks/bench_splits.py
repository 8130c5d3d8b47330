"""Shares of the splits, and what they take, on logs whose prompts are shared as those of real ones are.

    python -m tests.benchmarks.bench_splits --sizes 10,1000,100000,1000000 --log my_logs/*.jsonl

Simulated logs have openers by Zipf's law, as many different ones as conversations: `openers` go on with turns of their
own, `turns` are such openers alone, so that a chain of shared prompts joins nearly all conversations, `one opener`
begins a third of the conversations with one prompt and a third with none. Each size and kind is a process of its own:
CPU-seconds are those of the assignment, memory its peak over what the tables take that it is given. Shares are of rows.
`--log` takes a log's stages up to `splits` in place of a simulation.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from thumbline.pipeline.config import EventsConfig, PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig
from thumbline.pipeline.evidence.placement import off_shares_line, shares
from thumbline.pipeline.identity import as_number, digest, prompt_id
from thumbline.pipeline.stages import events, pairs, responses, splits, unpaired

KINDS: Final = ("openers", "turns", "one opener")
_MOST_TURNS: Final = 5
_PART_TURNS: Final = 200_000
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Found(NamedTuple):
    """What one log gave.

    Attributes:
        rows: Labelled answers and pairs.
        groups: Groups of them.
        largest: Share of the rows in the largest group.
        test: Share of the rows in the test split.
        validation: Share of the rows in the validation split.
        line: What a run says of the shares; empty where they are near.
        seconds: CPU-seconds of the assignment.
        mib: MiB that it took at its peak.
    """

    rows: int
    groups: int
    largest: float
    test: float
    validation: float
    line: str
    seconds: float
    mib: float


def conversations(kind: str, count: int, seed: int) -> pl.DataFrame:
    """Turns: `conversation_id`, `prompt` as messages, `created_at`; a conversation's turns follow each other."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, _MOST_TURNS + 1, count)
    owner = np.repeat(np.arange(count), lengths)
    first = np.r_[True, owner[1:] != owner[:-1]]
    weights = 1.0 / np.arange(1, count + 1)
    zipf = np.searchsorted(np.cumsum(weights / weights.sum()), draw.random(len(owner)))
    shared = np.ones(len(owner), dtype=bool) if kind == "turns" else first
    texts = pl.Series(np.where(shared, zipf, np.arange(len(owner)))).cast(pl.String)
    texts = pl.select(pl.when(pl.Series(shared)).then(pl.lit("opener ") + texts).otherwise("turn " + texts)).to_series()
    if kind == "one opener":
        third = pl.Series(np.where(first, owner % 3, 2))
        texts = pl.select(
            pl.when(third == 0).then(pl.lit("Hello")).when(third == 1).then(pl.lit("")).otherwise(texts)
        ).to_series()
    told = pl.DataFrame({"conversation_id": pl.Series(owner).cast(pl.String), "text": texts})
    message = pl.concat_list(pl.struct(role=pl.lit("user"), content="text", extra=pl.lit(None, pl.String)))
    seconds = pl.int_range(pl.len(), dtype=pl.Int64)
    return told.select("conversation_id", prompt=message, created_at=pl.lit(_START) + pl.duration(seconds=seconds))


def log_tables(turns: pl.DataFrame) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """What the stage reads of `responses` and `events`, in parts by prompt: each turn has an answer of its own."""
    named = turns.with_columns(
        prompt_id=prompt_id(pl.col("prompt")), response_id=digest(pl.int_range(pl.len()).cast(pl.String))
    )
    met = named.select("prompt_id", "response_id", "conversation_id", "created_at")
    tools = pl.lit(None, pl.String)
    answers = named.select(
        "prompt_id", "response_id", "prompt", tools=tools, oldest_event_at="created_at", newest_event_at="created_at"
    )
    count = 1 + turns.height // _PART_TURNS
    place = pl.col("prompt_id").str.head(8).str.to_integer(base=16) % count
    return [(answers.filter(place == number), met.filter(place == number)) for number in range(count)]


def simulated(kind: str, count: int, seed: int) -> Found:
    """The splits of a simulated log."""
    parts = log_tables(conversations(kind, count, seed))
    rows = pl.concat([answers.select("prompt_id") for answers, _ in parts])
    config = SplitsConfig()

    def facts() -> Iterator[splits.PromptFacts]:
        for answers, met in parts:
            yield splits.prompt_facts(answers.lazy(), met.lazy(), config)

    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    made = splits.assign(facts(), rows.lazy(), config)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _found(rows, made, seconds, (peak - before) / 1024)


def logged(paths: list[str]) -> Found:
    """The splits of a log, read and labelled in memory."""
    read = events.ingest(EventsConfig(inputs=tuple(paths)))
    first = responses.transform(read.events.lazy(), ResponsesConfig())
    table = first.responses.collect()
    paired = pairs.transform(table.lazy(), first.comparisons, PairsConfig(), ResponsesConfig()).pairs.collect()
    labelled = unpaired.transform(table.lazy(), UnpairedConfig()).collect()
    rows = pl.concat([labelled.select("prompt_id"), paired.select("prompt_id")])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    made = splits.transform(table.lazy(), read.events.lazy(), rows.lazy(), SplitsConfig(), paired.lazy()).collect()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _found(rows, made, seconds, (peak - before) / 1024)


def _found(rows: pl.DataFrame, made: pl.DataFrame, seconds: float, mib: float) -> Found:
    placed = rows.join(made, on="prompt_id", how="inner", validate="m:1")
    groups = placed.group_by("group_id").agg(pl.col("split").first(), n_rows=pl.len())
    share = shares(groups)
    largest = int(groups["n_rows"].to_numpy().max()) / rows.height
    line = off_shares_line(groups.with_columns(as_number(pl.col("group_id"))), SplitsConfig())
    return Found(rows.height, groups.height, largest, share["test"], share["validation"], line, seconds, mib)


def main() -> None:
    """Print a row a log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,1000,10000,100000", help="conversations, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", nargs="+", action="append", default=[], help="files of one log, in place of sizes")
    options = parser.parse_args()
    sizes = [] if options.log else [int(size) for size in options.sizes.split(",")]
    runs = [(f"{kind} {size:,}", simulated, (kind, size, options.seed)) for size in sizes for kind in KINDS]
    runs += [(paths[0], logged, (paths,)) for paths in options.log]
    print(
        f"{'log':28} {'rows':>9} {'groups':>9} {'largest':>8} {'test':>6} {'valid.':>6} {'CPU s':>6} {'MiB':>6}  said"
    )
    for name, run, given in runs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found: Found = pool.apply(run, given)
        print(
            f"{name[-28:]:28} {found.rows:9,} {found.groups:9,} {found.largest:8.2%} {found.test:6.1%} "
            f"{found.validation:6.1%} {found.seconds:6.2f} {found.mib:6.0f}  {found.line or '-'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
