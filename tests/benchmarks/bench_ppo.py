"""RLHF on the demo model, small enough for a CPU: whether reward rises while KL stays bounded, and what it holds.

A small log is made in which polite answers are liked. A thumbs model on the first layers of the demo model learns that,
and PPO or RLOO trains the demo model against it. The table shows a line a step; reward is the thumbs model's score less
what an answer that was cut loses, KL the mean nats an answer (k1). Below it: weights in memory, each counted once
however many hold it; and the process's peak while it trained, beside what `thumbline plan` says.

    python -m tests.benchmarks.bench_ppo --method rloo --steps 10
"""

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tests.line.conftest import write_config, write_log
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.planning.estimate import estimate
from thumbline.pipeline.planning.models import model_config
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, any_work
from thumbline.pipeline.training.rollouts import opening
from thumbline.pipeline.training.speed import peak_memory_gib

SHOWN = (
    "reward",
    "score",
    "penalised_reward",
    "kl_k1",
    "kl_k3",
    "entropy",
    "answer_tokens",
    "ended_share",
    "clip_fraction",
)
MIB = 2**20


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Sections of the run file."""
    train: dict[str, Any] = {
        "method": options.method,
        "loss": {"kl_coefficient": options.kl_coefficient},
        "rollouts": {
            "samples": options.samples,
            "max_new_tokens": options.tokens,
            "epochs": options.epochs,
            "minibatches": options.minibatches,
            "value_model": options.value_model,
            "missing_eos_penalty": options.missing_eos_penalty,
        },
        "adapter": options.adapter,
        "learning_rate": options.learning_rate,
        "max_steps": options.steps,
        "epochs": options.steps,
        "batch_rows": options.prompts,
        "micro_batch_rows": 16,
        "validation_rows": 0,
        "parity_rows": 2,
        "warmup_fraction": 0.0,
        "schedule": "constant",
        "checkpoint_every": 1000,
        "checkpoint_minutes": 600.0,
        "dtype": options.dtype,
    }
    thumbs = {
        "method": "reward_bce",
        "layers": options.layers,
        "learning_rate": 1e-4,
        "epochs": 4,
        "batch_rows": 8,
        "dtype": options.dtype,
        "device": "cpu",
    }
    reference = {"engine": "hf", "dtype": options.dtype, "shard_rows": 16}
    return {"thumbs": thumbs, "train": train, "reference": reference, "splits": {"validation": 0.1, "test": 0.1}}


@contextmanager
def weighed(held: dict[str, float]) -> Iterator[None]:
    """Notes what lies in memory once everything is loaded: MiB by name."""
    before = opening.opened

    @contextmanager
    def opened(context: Any, policy: Any, *rest: Any) -> Iterator[Any]:
        with before(context, policy, *rest) as found:
            writer, seen = found.stepping.writer, set[int]()
            held["policy"] = _mib(policy.model.named_parameters(), seen, but="value_")
            held["value"] = _mib(policy.model.named_parameters(), seen)
            copy = writer.reference.own
            held["reference"] = 0.0 if copy is None else _mib(copy.model.named_parameters(), seen)
            held["reward"] = _mib(writer.thumbs._model.named_parameters(), seen)
            trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
            held["gradients"] = sum(weight.nbytes for weight in trained) / MIB
            held["AdamW's state"] = 2 * held["gradients"]
            yield found

    from thumbline.pipeline.training import learning

    learning.opened = opened
    try:
        yield
    finally:
        learning.opened = before


def _mib(weights: Any, seen: set[int], but: str = "\0") -> float:
    total = 0
    for name, weight in weights:
        if weight.data_ptr() not in seen and not name.startswith(but):
            seen.add(weight.data_ptr())
            total += weight.nbytes
    return total / MIB


def table(log: pl.DataFrame) -> str:
    """A line a step."""
    wide = log.filter(pl.col("phase") == "train").pivot("metric", index="step", values="value")
    names = [name for name in (*SHOWN, "value_loss") if name in wide.columns]
    lines = [f"| step | {' | '.join(names)} |", "|" + " --- |" * (len(names) + 1)]
    lines += [
        f"| {row['step']} | {' | '.join(f'{row[name]:.3f}' for name in names)} |" for row in wide.iter_rows(named=True)
    ]
    return "\n".join(lines)


def main() -> None:
    """Make the log, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="ppo")
    parser.add_argument("--model", default="demo")
    for name, value in {"steps": 10, "prompts": 8, "samples": 4, "tokens": 32, "epochs": 1, "minibatches": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--log-prompts", type=int, default=16)
    parser.add_argument("--kl-coefficient", type=float, default=0.05)
    parser.add_argument("--missing-eos-penalty", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--adapter", default="none")
    parser.add_argument("--value-model", default="policy")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    held: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, weighed(held):
        folder = Path(name)
        log = write_log(folder / "log.jsonl", prompts=options.log_prompts)
        config = load_config(write_config(folder, log, Path(options.model), **settings(options)))
        for _ in line.run(config, line.select(None, "reference")):
            pass
        traces = Traces(model_config(config))
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MIB
        before, since = time.process_time(), time.monotonic()
        for _ in line.run(config, line.select(None, "train")):
            pass
        spent, waited = time.process_time() - before, time.monotonic() - since
        peak = peak_memory_gib(torch.device("cpu")) * 1024
        with any_work(config, Stated(), traces.layout(config.train)) as work:
            planned = estimate(traces, config.train, work, "cpu").peak / MIB
        print(table(pl.read_parquet(config.run_dir / "train" / "training_log.parquet")))
    print(
        f"\n{options.method}, {options.prompts} prompts x {options.samples} answers of at most {options.tokens} tokens,"
    )
    print(f"adapter {options.adapter}, {torch.get_num_threads()} threads: {spent:.0f} CPU-s, {waited:.0f} s in all")
    print("\n| in memory | MiB |\n| --- | --- |")
    print("\n".join(f"| {name} | {size:,.0f} |" for name, size in held.items()))
    print(f"| the process before training | {resident:,.0f} |")
    print(f"| its peak while it trained | {peak:,.0f} |")
    print(f"| planned, over what was there before | {planned:,.0f} |")


if __name__ == "__main__":
    main()
