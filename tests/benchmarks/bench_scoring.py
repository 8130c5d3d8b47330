"""CPU-seconds of each way to the same summed log-probs, on the demo model and conversations of the sample log.

    python -m tests.benchmarks.bench_scoring --prompts 16 --completions 2 --prompt-tokens 250

One thread, bfloat16, models loaded beforehand, the best of several rounds. `share of limit`: the least work that
the numbers take (a prompt once, the head at completion positions only), at the rate of a large bfloat16 matrix
product on the same core, against the CPU-seconds used. `TRL precompute` is the pass of TRL's own DPO trainer with
`precompute_ref_log_probs=True` at its default batch size and settings, two answers to one prompt being a pair.
Fails where the sums of two ways differ by more than bfloat16's rounding.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import datasets
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
from trl.trainer.utils import selective_log_softmax

from tests.engine_inputs import sequence
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.vllm.process import WorkerProcess

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "completions.jsonl"
# Rows a batch where logits of every position are held: four pairs, half of what TRL takes, so that they fit memory.
PADDED_ROWS = 8
# Most that two ways may differ, as a share of the sums: one token off is several times as much, rounding a third of it.
AGREE = 0.005


class Measured(NamedTuple):
    name: str
    cpu_seconds: float
    sums: list[float]


def conversations(folder: Path, prompts: int, completions: int, prompt_tokens: int) -> list[TokenSequence]:
    """Sample prompts, each after earlier turns of the sample that make it `prompt_tokens` long, with its answers."""
    by_prompt: dict[str, list[str]] = {}
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_prompt.setdefault(row["prompt"], []).append(row["completion"])
    encoder = load_encoder(folder, "chat", 4096, "drop")
    turns = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": answers[0]}]
        for prompt, answers in by_prompt.items()
    ]
    rows = []
    for place, (prompt, answers) in enumerate(list(by_prompt.items())[:prompts]):
        messages = [{"role": "user", "content": prompt}]
        for step in range(1, len(turns)):
            (found,) = encoder.encode([messages], answers[:1])
            if len(found.prompt_token_ids) >= prompt_tokens:
                break
            messages = turns[(place + step * 7) % len(turns)] + messages
        encoded = encoder.encode([messages] * completions, answers[:completions])
        rows += [sequence(one.prompt_token_ids, one.completion_token_ids) for one in encoded]
    return rows


def process_seconds(pid: int) -> float:
    """CPU-seconds of a process so far, all its threads."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def best(rounds: int, clock: Callable[[], float], work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    seconds = []
    for _ in range(rounds):
        start = clock()
        sums = work()
        seconds.append(clock() - start)
    return min(seconds), sums


def by_vllm(route: str, folder: Path, rows: list[TokenSequence], rounds: int, **settings) -> tuple[float, list[float]]:
    longest = max(len(row.prompt_token_ids) + len(row.completion_token_ids) for row in rows)
    worker = WorkerProcess(route, folder, EngineConfig(dtype="bfloat16", **settings), longest)
    try:
        worker.score(rows[:2])

        def clock() -> float:
            # What feeding the worker takes in this process counts too.
            return process_seconds(worker._process.pid) + time.process_time()

        return best(rounds, clock, lambda: [score.logps for score in worker.score(rows)])
    finally:
        worker.close()


def by_sorted(folder: Path, rows: list[TokenSequence], rounds: int) -> tuple[float, list[float]]:
    engine = HFEngine(folder, EngineConfig(engine="hf", dtype="bfloat16"))
    engine.score(rows[:2])
    found = best(rounds, time.process_time, lambda: [score.logps for score in engine.score(rows)])
    engine.close()
    return found


@torch.no_grad()
def padded_sums(model: torch.nn.Module, rows: list[TokenSequence]) -> list[float]:
    """Batches in the order given, logits of every position: what a loop without a fused head does."""
    sums = []
    for start in range(0, len(rows), PADDED_ROWS):
        batch = rows[start : start + PADDED_ROWS]
        tokens = [torch.tensor(row.prompt_token_ids + row.completion_token_ids) for row in batch]
        ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in tokens], batch_first=True)
        logps = selective_log_softmax(model(input_ids=ids, attention_mask=mask).logits[:, :-1], ids[:, 1:])
        for row, values in zip(batch, logps, strict=True):
            first = len(row.prompt_token_ids) - 1
            sums.append(float(values[first : first + len(row.completion_token_ids)].double().sum()))
    return sums


def by_padded(folder: Path, rows: list[TokenSequence], rounds: int) -> tuple[float, list[float]]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    padded_sums(model, rows[:2])
    return best(rounds, time.process_time, partial(padded_sums, model, rows))


class PairTrainer(DPOTrainer):
    """TRL's trainer, given token ids: what it writes as text and tokenises is neither timed nor compared."""

    def _prepare_dataset(self, dataset: Dataset, *_) -> Dataset:
        return dataset


def as_pairs(rows: list[TokenSequence]) -> Dataset:
    """Two neighbours, which are answers to one prompt, as a pair in the columns that TRL's collator reads."""
    return Dataset.from_list(
        [
            {
                "prompt_ids": list(chosen.prompt_token_ids),
                "chosen_ids": list(chosen.completion_token_ids),
                "rejected_ids": list(rejected.completion_token_ids),
            }
            for chosen, rejected in zip(rows[::2], rows[1::2], strict=True)
        ]
    )


def trl_sums(trainer: DPOTrainer, pairs: Dataset) -> list[float]:
    """What TRL writes beside the pairs, in the order of the rows."""
    rows_a_batch = trainer.args.precompute_ref_batch_size or trainer.args.per_device_train_batch_size
    made = trainer._precompute_ref_logps(pairs, "train", rows_a_batch)
    return [value for pair in zip(made["ref_chosen_logps"], made["ref_rejected_logps"], strict=True) for value in pair]


def by_trl(folder: Path, rows: list[TokenSequence], rounds: int) -> tuple[float, list[float]]:
    datasets.disable_progress_bars()
    # Else its second round would read what the first has stored.
    datasets.disable_caching()
    with tempfile.TemporaryDirectory() as output:
        # As it comes but for the length: what is cut could not be compared. The trainer warms up as it is made.
        settings = DPOConfig(
            output_dir=output, precompute_ref_log_probs=True, max_length=None, use_cpu=True, report_to=[]
        )
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        trainer = PairTrainer(model=model, args=settings, train_dataset=as_pairs(rows[:2]), processing_class=tokenizer)
        return best(rounds, time.process_time, partial(trl_sums, trainer, as_pairs(rows)))


def least_work(folder: Path, rows: list[TokenSequence]) -> float:
    """Floating-point operations with every prompt computed once and the head at completion positions only."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_config(folder))
    body = sum(value.numel() for value in model.parameters()) - vocabulary * width
    prompts = {row.prompt_token_ids for row in rows}
    total = sum(2 * body * len(ids) + 4 * layers * width * len(ids) * (len(ids) + 1) / 2 for ids in prompts)
    for row in rows:
        before, own = len(row.prompt_token_ids), len(row.completion_token_ids)
        total += 2 * body * own + 4 * layers * width * (before * own + own * (own + 1) / 2)
        total += 2 * width * vocabulary * own
    return total


def load_config(folder: Path):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder)


def matmul_rate(size: int = 2048) -> float:
    """Floating-point operations a CPU-second of a large bfloat16 matrix product on one thread."""
    left = torch.randn(size, size).bfloat16()
    left @ left
    seconds, _ = best(3, time.process_time, lambda: [float((left @ left)[0, 0])])
    return 2 * size**3 / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--completions", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.completions % 2:
        parser.error(f"--completions: {options.completions} is odd, but TRL takes pairs of answers to one prompt.")
    # Two threads that wait for each other spend CPU-seconds without computing.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    folder = demo_model_path()
    rows = conversations(folder, options.prompts, options.completions, options.prompt_tokens)
    given = (folder, rows, options.rounds)
    measured = [
        Measured("vLLM adapter, prefix cache", *by_vllm("adapter", *given)),
        Measured("vLLM adapter, no cache", *by_vllm("adapter", *given, prefix_caching=False)),
        Measured("vLLM prompt_logprobs", *by_vllm("prompt_logprobs", *given)),
        Measured("HF sorted, completion head", *by_sorted(*given)),
        Measured(f"TRL precompute, {DPOConfig.per_device_train_batch_size} pairs", *by_trl(*given)),
        Measured("HF padded, all logits", *by_padded(*given)),
    ]
    return report(measured, rows, least_work(folder, rows) / matmul_rate())


def report(measured: list[Measured], rows: list[TokenSequence], least_seconds: float) -> int:
    """Print the table; returns 1 where the ways do not agree."""
    tokens = sum(len(row.prompt_token_ids) + len(row.completion_token_ids) for row in rows)
    completion = sum(len(row.completion_token_ids) for row in rows)
    print(f"{len(rows)} sequences, {tokens} tokens, {completion} of them in completions, bfloat16, one thread")
    print(f"{'route':28} {'CPU s':>8} {'ms/token':>9} {'against best':>13} {'share of limit':>15} {'mean |diff|':>12}")
    fastest = min(entry.cpu_seconds for entry in measured)
    base = measured[-1].sums
    most = AGREE * sum(map(abs, base)) / len(base)
    far = []
    for name, seconds, sums in measured:
        apart = sum(abs(one - other) for one, other in zip(sums, base, strict=True)) / len(base)
        # A sum that is not a number is far as well.
        far += [] if apart <= most else [name]
        print(
            f"{name:28} {seconds:8.1f} {1e3 * seconds / tokens:9.3f} {seconds / fastest:12.2f}x "
            f"{least_seconds / seconds:15.0%} {apart:12.2f}"
        )
    print(f"mean |diff|: nats a sequence against the last row; up to {most:.2f} is taken for bfloat16's own noise")
    print(f"NOT THE SAME NUMBERS: {', '.join(far)}" if far else "all ways give the same numbers")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
