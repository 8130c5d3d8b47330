"""What a training step takes: AdamW on all weights, plain and fused, and LoRA on a frozen base, each beside the first.

Each way runs DPO on random pairs in a process of its own, after one step that is not counted. Memory is the process's
peak over what it held before the model was loaded. `--model demo` takes the demo model.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from thumbline.losses import Term
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.engines.models import resolve_model
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.rows import PairRow, TrainingSequence
from thumbline.pipeline.training.trainer import Trainer

WAYS: dict[str, dict[str, Any]] = {
    "all weights, plain AdamW": {},
    "all weights, fused AdamW": {},
    "LoRA, float32 base": {"adapter": "lora"},
    "LoRA, bfloat16 base": {"adapter": "lora", "weights": "bfloat16"},
}


class Cost(NamedTuple):
    """What one way took: CPU-seconds a step, those of them in the optimiser, and GiB at the peak."""

    seconds: float
    optimizer_seconds: float
    memory: float


def _save_model(folder: Path) -> Path:
    """A Llama of 26 million weights, large beside the libraries' own noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=8192,
            hidden_size=512,
            intermediate_size=1536,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=4,
            tie_word_embeddings=True,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _rows(count: int, prompt: int, completion: int) -> list[PairRow]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        ids = torch.randint(5, 8000, (prompt + 2 * completion,), generator=generator).tolist()
        sides = [
            TrainingSequence(f"{2 * number + side:032x}", tuple(ids[:prompt]), tuple(answer), -9.0 * completion)
            for side, answer in enumerate((ids[prompt : prompt + completion], ids[prompt + completion :]))
        ]
        made.append(PairRow(f"{number:032x}", *sides, 1.0, 1.0))
    return made


class _TimedAdamW(torch.optim.AdamW):
    """AdamW in either form, that keeps what its steps took."""

    plain = False
    taken: ClassVar[list[float]] = []

    def __init__(self, *arguments: Any, fused: bool, **settings: Any) -> None:
        super().__init__(*arguments, fused=fused and not self.plain, **settings)
        self.taken.clear()

    def step(self, *arguments: Any) -> None:
        started = time.process_time()
        super().step(*arguments)
        self.taken.append(time.process_time() - started)


def _measure(way: str, model_dir: Path, steps: int, lengths: tuple[int, int], queue: Any) -> None:
    torch.set_num_threads(1)
    _TimedAdamW.plain = "plain" in way
    torch.optim.AdamW = _TimedAdamW  # type: ignore[misc]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train = TrainConfig(
        max_steps=steps + 1, batch_rows=4, micro_batch_rows=2, validation_rows=0, checkpoint_every=10**6, **WAYS[way]
    )
    policy = load_policy(
        model_dir, device="cpu", dtype=train.dtype, gradient_checkpointing=False, weights=train.weights
    )
    if train.adapter != "none":
        policy = with_adapter(policy, train)
    rows, objective = _rows(4 * (steps + 1), *lengths), Objective((Term("dpo"),), train.micro_batch_rows)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(policy, objective, train, rows, (), Path(folder))
        trainer.run(lambda _: ends.append(time.process_time()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # The first call tells of the start, the second of the step that warms up.
    spent = (ends[-1] - ends[1]) / steps
    queue.put(Cost(spent, sum(_TimedAdamW.taken[1:]) / steps, peak / 2**20))


def main() -> None:
    """Print a table of the ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model as in a run file; a Llama of 26 million weights where not given")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--completion", type=int, default=128)
    options = parser.parse_args()
    context, costs = multiprocessing.get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        model_dir = resolve_model(options.model) if options.model else _save_model(Path(folder))
        for way in WAYS:
            queue = context.Queue()
            lengths = (options.prompt, options.completion)
            process = context.Process(target=_measure, args=(way, model_dir, options.steps, lengths, queue))
            process.start()
            costs[way] = queue.get(timeout=900)
            process.join()
    first = next(iter(costs.values()))
    print(f"{'':26} CPU-s a step  optimiser's  ratio   peak GiB  ratio")
    for way, cost in costs.items():
        print(
            f"{way:26} {cost.seconds:12.2f} {cost.optimizer_seconds:12.3f} {cost.seconds / first.seconds:6.2f} "
            f"{cost.memory:10.2f} {cost.memory / first.memory:6.2f}"
        )


if __name__ == "__main__":
    main()
