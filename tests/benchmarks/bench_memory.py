"""What a training step takes, each way of training beside the first: types of weights, optimisers, adapters.

Each way runs DPO on random pairs in a process of its own, after one step that is not counted. Bytes a parameter are
those of weights, gradients and the optimiser's state, as they lie after a step. The peak is that of the process over
what it held before the model was loaded: with activations, and what the libraries themselves need. `--model demo` takes
the demo model.
"""

import argparse
import functools
import importlib.util
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import AutoConfig, AutoModelForCausalLM

from tests.tiny import save_random_llama
from thumbline.losses import Term
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.engines.models import resolve_model
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.policy import Policy, load_policy
from thumbline.pipeline.training.rows import PairRow, TrainingSequence
from thumbline.pipeline.training.trainer import Trainer

BFLOAT16 = {"weights": "bfloat16"}
LORA = {"adapter": "lora"}
NF4 = LORA | {"weights": "nf4", "save": "adapter"}
PLAIN, COMPILED = "float32, AdamW not fused", "float32, AdamW, compiled"
WAYS: dict[str, dict[str, Any]] = {
    "float32, AdamW": {},
    PLAIN: {},
    COMPILED: {},
    "float32, AdamW, checkpointing": {"gradient_checkpointing": True},
    "float32, 8-bit AdamW": {"optimizer": "adamw_8bit"},
    "float32, Adafactor": {"optimizer": "adafactor"},
    "bfloat16 master, AdamW": BFLOAT16 | {"rounding": "master"},
    "bfloat16, AdamW": BFLOAT16,
    "bfloat16, 8-bit AdamW": BFLOAT16 | {"optimizer": "adamw_8bit"},
    "bfloat16, Adafactor": BFLOAT16 | {"optimizer": "adafactor"},
    "LoRA, float32 base": LORA,
    "LoRA, bfloat16 base": LORA | BFLOAT16,
    "LoRA, nf4 base": NF4,
    "LoRA, nf4 base, checkpointing": NF4 | {"gradient_checkpointing": True},
}


class Cost(NamedTuple):
    """What one way took.

    Attributes:
        seconds: CPU-seconds a step.
        optimizer_seconds: Those of them in the optimiser.
        warm_up_seconds: CPU-seconds of the step that is not counted above.
        bytes_a_parameter: Of weights, gradients and state, over the model's parameters.
        peak: GiB.
    """

    seconds: float
    optimizer_seconds: float
    warm_up_seconds: float
    bytes_a_parameter: float
    peak: float


def _save_model(folder: Path) -> Path:
    """A Llama of 26 million weights, large beside the libraries' own noise."""
    return save_random_llama(
        folder,
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )


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


class _Watch:
    """Seconds and bytes of the outermost optimiser's steps: an optimiser may step others."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.taken: list[float] = []
        self.held = 0
        self._model, self._starts = model, list[float]()
        register_optimizer_step_pre_hook(lambda *_: self._starts.append(time.process_time()))
        register_optimizer_step_post_hook(self._after)

    def _after(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        started = self._starts.pop()
        if not self._starts:
            self.taken.append(time.process_time() - started)
            weights = list(self._model.parameters())
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            self.held = sum(one.nbytes for one in (*weights, *gradients, *_tensors(optimizer.state_dict())))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _policy(way: str, train: TrainConfig, model_dir: Path) -> Policy:
    policy = load_policy(
        model_dir,
        device="cpu",
        dtype=train.dtype,
        gradient_checkpointing=train.gradient_checkpointing,
        weights=train.weights,
    )
    if way == COMPILED:
        policy.model.base_model.compile(dynamic=True)
    return policy if train.adapter == "none" else with_adapter(policy, train)


def _not_fused(kind: Any, weights: Any, **settings: Any) -> Any:
    return kind(weights, **settings | {"fused": False})


def _parameters(model_dir: Path) -> int:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_dir)).num_parameters()


def _measure(way: str, model_dir: Path, steps: int, lengths: tuple[int, int], queue: Any) -> None:
    torch.set_num_threads(1)
    if way == PLAIN:
        torch.optim.AdamW = functools.partial(_not_fused, torch.optim.AdamW)  # type: ignore[misc,assignment]
    for library in ("peft", "bitsandbytes"):  # what they take is no way's own
        if importlib.util.find_spec(library) is not None:
            importlib.import_module(library)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train = TrainConfig(
        max_steps=steps + 1, batch_rows=4, micro_batch_rows=2, validation_rows=0, checkpoint_every=10**6, **WAYS[way]
    )
    policy = _policy(way, train, model_dir)
    rows, objective = _rows(4 * (steps + 1), *lengths), Objective((Term("dpo"),), train.micro_batch_rows)
    ends, watch = [], _Watch(policy.model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(policy, objective, train, rows, (), Path(folder))
        trainer.run(lambda _: ends.append(time.process_time()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # The first call tells of the start, the second of the step that warms up.
    warm_up, spent = ends[1] - ends[0], (ends[-1] - ends[1]) / steps
    queue.put(Cost(spent, sum(watch.taken[1:]) / steps, warm_up, watch.held / _parameters(model_dir), peak / 2**20))


def _runs_here(settings: dict[str, Any]) -> bool:
    """Whether the libraries of a way are installed."""
    quantised = settings.get("optimizer") == "adamw_8bit" or settings.get("weights") == "nf4"
    needed = {"peft": "adapter" in settings, "bitsandbytes": quantised}
    return all(importlib.util.find_spec(name) is not None for name, is_needed in needed.items() if is_needed)


def main() -> None:
    """Print a table of the ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model as in a run file; a Llama of 26 million weights where not given")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--completion", type=int, default=128)
    parser.add_argument("--ways", default="", help="a part of the names of the ways to measure; the first always is")
    options = parser.parse_args()
    first, *others = WAYS
    # To compile takes minutes: only where it is asked for.
    chosen = [way for way in others if options.ways in way and (options.ways or way != COMPILED)]
    ways = [first, *(way for way in chosen if _runs_here(WAYS[way]))]
    context, costs = multiprocessing.get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        model_dir = resolve_model(options.model) if options.model else _save_model(Path(folder))
        for way in ways:
            queue = context.Queue()
            lengths = (options.prompt, options.completion)
            process = context.Process(target=_measure, args=(way, model_dir, options.steps, lengths, queue))
            process.start()
            costs[way] = queue.get(timeout=1800)
            process.join()
    print(f"{'':30} CPU-s a step  ratio  optimiser's  first step  bytes a parameter  peak GiB  ratio")
    for way, cost in costs.items():
        print(
            f"{way:30} {cost.seconds:12.2f} {cost.seconds / costs[first].seconds:6.2f} {cost.optimizer_seconds:12.3f} "
            f"{cost.warm_up_seconds:11.1f} {cost.bytes_a_parameter:18.2f} {cost.peak:9.2f} "
            f"{cost.peak / costs[first].peak:6.2f}"
        )


if __name__ == "__main__":
    main()
