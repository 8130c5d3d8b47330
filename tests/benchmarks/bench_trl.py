"""A training step beside TRL's: CPU-seconds and peak memory, and what each part of ours is worth by leaving it out.

    python -m tests.benchmarks.bench_trl                # the whole table
    python -m tests.benchmarks.bench_trl --quick        # the sample log alone, with ours whole

The demo model, one core, the same rows in the same order and batches, the same dtype, reference log-probs stored for
both, TRL's trainers at their own defaults but for gradient checkpointing, which neither uses. Each way runs in a
process of its own; the first step is not counted. CPU-seconds are the process's own, which other work on the machine
moves least. Memory is the peak over what lies there between steps: weights and AdamW's state, the same in both.
Stored log-probs are made up: their values change no time.
"""

import argparse
import ctypes
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import torch

import thumbline
from tests.trl_trainers import (
    STEADY,
    Lengths,
    alternating,
    in_our_order,
    our_trainer,
    quiet,
    random_pairs,
    sequence,
    trl_trainer,
)
from thumbline.pipeline import line
from thumbline.pipeline.config import TrainConfig, load_config
from thumbline.pipeline.engines.models import resolve_model
from thumbline.pipeline.training.rows import PairRow, Row

CONFIGS = Path(__file__).parents[2] / "pipeline" / "configs"
# Ids of the demo model's vocabulary of 49,152.
VOCABULARY = 49_000
LOSSES: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1},
    # TRL weighs both classes alike, and takes the reference point over a micro-batch.
    "kto": {
        "beta": 0.1,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
        "reference_point_over": "micro_batch",
    },
}


class Case(NamedTuple):
    """What is trained.

    Attributes:
        method: By its name.
        dtype: Of matrix products.
        lengths: Of random rows; None for those of the sample log.
        by_parts: Whether ours is measured without each of its parts as well.
    """

    method: str
    dtype: str
    lengths: Lengths | None
    by_parts: bool = False

    @property
    def rows(self) -> str:
        """Which rows, in short."""
        return "sample log" if self.lengths is None else f"{self.lengths.prompt}/{self.lengths.chosen}"

    @property
    def kind(self) -> str:
        """Method and dtype."""
        return f"{self.method.upper()} {self.dtype}"

    @property
    def title(self) -> str:
        """As it is printed."""
        return f"{self.kind}, {self.rows}"


def as_it_is() -> None:
    """Change nothing."""


def plain_adamw() -> None:
    """AdamW as a loop over tensors."""

    class Plain(torch.optim.AdamW):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings | {"fused": False})

    torch.optim.AdamW = Plain  # type: ignore[misc]


class Way(NamedTuple):
    """How a step is taken.

    Attributes:
        name: As it is printed.
        settings: Of `train`, over the defaults; None for TRL.
        methods: Those for which it differs from ours whole.
        prepare: Called in the process before anything is loaded.
    """

    name: str
    settings: dict[str, Any] | None
    methods: tuple[str, ...] = ("dpo", "kto")
    prepare: Callable[[], None] = as_it_is


class Cost(NamedTuple):
    """CPU-seconds of each measured step, MiB at the peak above what lies there between steps, and ours' layout."""

    seconds: list[float]
    memory: float
    layout: str

    @property
    def step(self) -> float:
        """CPU-seconds of the quickest step: what else runs on the machine only slows one down."""
        return min(self.seconds)


CASES = [
    Case("dpo", "bfloat16", None),
    Case("dpo", "bfloat16", Lengths(128, 128, 128), by_parts=True),
    Case("dpo", "bfloat16", Lengths(384, 128, 128)),
    Case("dpo", "float32", Lengths(128, 128, 128)),
    Case("dpo", "float32", Lengths(384, 128, 128)),
    Case("kto", "bfloat16", Lengths(128, 128, 128), by_parts=True),
    Case("kto", "bfloat16", Lengths(384, 128, 128)),
]
TRL = Way("TRL", None)
OURS = Way("ours", {})
# One line for each part that can be left out.
WITHOUT = [
    Way("prompts not shared", {"layout": "packed"}),
    Way("nor packed: padded", {"layout": "padded"}),
    Way("AdamW not fused", {}, prepare=plain_adamw),
]


class Size(NamedTuple):
    """How much is measured: rows a step, rows a forward pass, and steps after the first."""

    batch: int
    micro_batch: int
    steps: int


def sample_pairs(folder: Path) -> list[PairRow]:
    """The training pairs that the quick start makes of the sample log, in the order of their ids."""
    config = load_config(CONFIGS / "quickstart.yaml", (f"runs={folder}",))
    for _ in line.run(config, line.select(None, "sequences")):
        pass
    tables = thumbline.load(config.run_dir).tables
    stands = tables["row_sequences"].filter(role="matched", split="train")
    ids = dict(zip(stands["response_id"], stands["sequence_id"], strict=True))
    sequences = {row["sequence_id"]: row for row in tables["sequences"].iter_rows(named=True)}

    def side(response: str) -> Any:
        tokens = sequences[ids[response]]
        return sequence(ids[response], tokens["prompt_token_ids"], tokens["completion_token_ids"])

    return [
        PairRow(row["pair_id"], side(row["chosen_response_id"]), side(row["rejected_response_id"]), 1.0, 1.0)
        for row in tables["pairs"].sort("pair_id").iter_rows(named=True)
        if row["chosen_response_id"] in ids and row["rejected_response_id"] in ids
    ]


def rows_of(case: Case, size: Size, sample: Sequence[PairRow]) -> list[Row]:
    """Rows for every step."""
    count = size.batch * (size.steps + 1)
    pairs = list(sample[:count]) if case.lengths is None else random_pairs([case.lengths] * count, VOCABULARY)
    return list(pairs if case.method == "dpo" else alternating(pairs))


class Clock:
    """Notes the process's CPU time at the end of each step, and its memory after the first."""

    def __init__(self) -> None:
        """Nothing has run."""
        self.ends: list[float] = []
        self.between = 0.0

    def tick(self) -> None:
        """A step has ended."""
        if not self.ends:
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            self.between = _mib("VmRSS")
        self.ends.append(time.process_time())

    def cost(self, layout: str = "") -> Cost:
        """What the steps after the first took, with sequences in this layout."""
        seconds = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return Cost(seconds, _mib("VmHWM") - self.between, layout)


def _mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def measure(way: Way, case: Case, size: Size, rows: Sequence[Row], model_dir: Path) -> Cost:
    """One way on one case; in a process of its own."""
    torch.set_num_threads(1)
    quiet()
    way.prepare()
    steps = {"batch_rows": size.batch, "micro_batch_rows": size.micro_batch, "max_steps": size.steps + 1}
    common = {"method": case.method, "loss": LOSSES[case.method], "dtype": case.dtype} | STEADY | steps
    clock, layout = Clock(), ""
    with tempfile.TemporaryDirectory() as name:
        if way.settings is None:
            config = TrainConfig(**common)
            ordered = in_our_order(rows, config)
            trl_trainer(model_dir, config, ordered, Path(name), each_step=lambda _: clock.tick()).train()
        else:
            trainer = our_trainer(model_dir, TrainConfig(**common | way.settings), rows, Path(name))
            layout = trainer.policy.layout
            # `advance` is told first of the steps that a checkpoint saves: none.
            trainer.run(lambda steps: clock.tick() if steps else None)
    return clock.cost(layout)


def in_own_process(*arguments: Any) -> Cost | None:
    """What `measure` gives; None where its process was killed, as it is where memory does not suffice."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except BrokenProcessPool:
            return None


class Compared(NamedTuple):
    """A case's cost by TRL, and by ours whole; None where either was killed."""

    case: Case
    theirs: Cost | None
    ours: Cost | None

    def in_short(self) -> str:
        """How many times TRL's speed, and which share of its memory."""
        if self.theirs is None or self.ours is None:
            return "killed"
        return f"{self.theirs.step / self.ours.step:.2f} ({self.ours.memory / self.theirs.memory:.2f})"


def measure_case(case: Case, ways: Sequence[Way], size: Size, sample: Sequence[PairRow], model_dir: Path) -> Compared:
    """Measure each way, and print it beside TRL."""
    rows = rows_of(case, size, sample)
    print(f"\n{case.title:34} CPU-s a step   x TRL's speed   peak MiB   of TRL's", flush=True)
    costs: dict[str, Cost | None] = {}
    for way in ways:
        if case.method not in way.methods or (way in WITHOUT and not case.by_parts):
            continue
        cost = costs[way.name] = in_own_process(way, case, size, rows, model_dir)
        if cost is None:
            print(f"  {way.name:32} killed: this machine's memory does not suffice", flush=True)
            continue
        base = costs[TRL.name] or cost
        print(
            f"  {way.name:32} {cost.step:12.2f}   {base.step / cost.step:13.2f}   {cost.memory:8.0f}   "
            f"{cost.memory / base.memory:8.2f}   {cost.layout:7} ({', '.join(f'{step:.2f}' for step in cost.seconds)})",
            flush=True,
        )
    return Compared(case, costs[TRL.name], costs[OURS.name])


def print_summary(compared: Sequence[Compared]) -> None:
    """One line for each method and dtype, one column for each kind of rows."""
    kinds = list(dict.fromkeys(one.case.kind for one in compared))
    columns = list(dict.fromkeys(one.case.rows for one in compared))
    heading = "x TRL's speed (share of its memory)"
    print(f"\n{heading:36}" + "".join(f"{name:>16}" for name in columns))
    for kind in kinds:
        found = {one.case.rows: one.in_short() for one in compared if one.case.kind == kind}
        print(f"{kind:36}" + "".join(f"{found.get(name, ''):>16}" for name in columns))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the first case alone, with nothing left out")
    parser.add_argument("--cases", default="", help="part of the names of the cases to run")
    parser.add_argument("--ways", default="", help="part of the names of the ways to run beside TRL and ours")
    parser.add_argument("--parts", action="store_true", help="leave parts of ours out in every case, not in two")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    started, size = time.monotonic(), Size(options.batch, options.micro_batch, options.steps)
    cases = [case for case in CASES if options.cases.lower() in case.title.lower()][: 1 if options.quick else None]
    cases = [case._replace(by_parts=case.by_parts or options.parts) for case in cases]
    ways = [TRL, OURS, *(way for way in WITHOUT if not options.quick and options.ways in way.name)]
    model_dir = resolve_model("demo")
    with tempfile.TemporaryDirectory() as name:
        sample = sample_pairs(Path(name)) if any(case.lengths is None for case in cases) else []
    print(
        f"{size.batch} rows a step, {size.micro_batch} a forward pass, one thread; {size.steps} steps after the first"
    )
    print_summary([measure_case(case, ways, size, sample, model_dir) for case in cases])
    print(f"\nIn all {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
