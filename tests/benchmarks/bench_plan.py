"""Planned against measured memory of training: all weights and LoRA of the demo model, and a model of another shape.

Each way trains three steps of random pairs on the CPU, in a process of its own and in float32 and bfloat16. Measured is
the process's peak of resident memory over what it held before the model, when only this module's imports were there;
planned is the same, by `thumbline plan`'s own functions, from the model's config alone. Layouts, optimiser and adapter
are those of the settings shown. `--tiny` takes a small model, `--only WORD` the ways whose names hold it.
"""

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from tests.tiny import save_random_llama
from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.engines.models import resolve_model
from thumbline.pipeline.planning.estimate import Estimate, estimate
from thumbline.pipeline.planning.models import model_config
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, work_of
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.objective import objective_of
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.probe import with_layout
from thumbline.pipeline.training.trainer import Trainer

STEPS: Final = 3
_CHECKPOINTED: Final = {"gradient_checkpointing": True}
WAYS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "demo, all weights": ("demo", {}),
    "demo, LoRA": ("demo", {"adapter": "lora"}),
    "other shape, all weights": ("other", {}),
    "other shape, padded": ("other", {"layout": "padded"}),
    "other shape, checkpointing": ("other", _CHECKPOINTED),
    "other shape, LoRA": ("other", {"adapter": "lora"}),
}


class Case(NamedTuple):
    """One way: settings of training, a model's folder, and tokens of each prompt and completion."""

    train: dict[str, Any]
    model: Path
    lengths: tuple[int, int]

    def config(self) -> RunConfig:
        """The run."""
        sizes = {"batch_rows": 4, "micro_batch_rows": 2, "max_steps": STEPS, "epochs": STEPS, "validation_rows": 0}
        document = {"name": "plan", "model": str(self.model), "events": {"inputs": ["none"]}}
        return RunConfig.model_validate(document | {"train": sizes | self.train})


def save_other_shape(folder: Path, *, tiny: bool = False) -> Path:
    """A Llama with other numbers of layers, widths and heads than the demo model, a small vocabulary, and untied."""
    size = {"vocab_size": 4096, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8}
    if not tiny:
        size = {"vocab_size": 16384, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 10}
    return save_random_llama(folder, **size, num_attention_heads=8, num_key_value_heads=2, tie_word_embeddings=False)


def planned(case: Case) -> Estimate:
    """What `thumbline plan` says of a way."""
    config = case.config()
    traces = Traces(model_config(config))
    with work_of(config, Stated(*case.lengths), traces.layout(config.train)) as work:
        return estimate(traces, config.train, work, "cpu")


def measured(case: Case) -> float:
    """Bytes at the peak of three steps in a new process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_train, args=(case, queue))
    process.start()
    peak: float = queue.get(timeout=1800)
    process.join()
    return peak


def _train(case: Case, queue: Any) -> None:
    torch.set_num_threads(1)
    config, train = case.config(), case.config().train
    with work_of(config, Stated(*case.lengths), "padded") as work, tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        policy = load_policy(
            case.model,
            device="cpu",
            dtype=train.dtype,
            gradient_checkpointing=train.gradient_checkpointing,
            weights=train.weights,
        )
        if train.adapter != "none":
            policy = with_adapter(policy, train)
        policy = with_layout(policy, train.layout).policy
        objective = objective_of(train, 1, 1)
        Trainer(policy, objective, train, work.largest, (), Path(folder)).run(lambda _: None)
        queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024.0)


def main() -> None:
    """Print a table of the ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--completion", type=int, default=128)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default="", help="ways whose names hold this")
    options = parser.parse_args()
    print(f"{'':42} measured GiB  planned  off by", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        other = save_other_shape(Path(folder), tiny=options.tiny)
        for name, (model, train) in WAYS.items():
            for dtype in ("float32", "bfloat16"):
                label = f"{name}, {dtype}"
                if options.only in label and not (options.tiny and model == "demo"):
                    place = resolve_model("demo") if model == "demo" else other
                    case = Case({**train, "dtype": dtype}, place, (options.prompt, options.completion))
                    peak, plan = measured(case), planned(case).peak
                    print(f"{label:42} {peak / 2**30:12.3f} {plan / 2**30:8.3f} {plan / peak - 1:+7.1%}", flush=True)


if __name__ == "__main__":
    main()
