"""Training steps: our trainer as it can be set, and TRL's, on models of three sizes."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.tiny import tiny_tokenizer
from tests.trl_trainers import STEADY, alternating, in_our_order, random_pairs, trainer_of, trl_trainer
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.training.policy import policy_of
from thumbline.pipeline.training.rows import Row, UnpairedRow

from .machine import Line, Machine, Way
from .shapes import Flops, Shape, flops_of, random_model

STEPS = 3
LORA = {"adapter": "lora", "weights": "bfloat16"}
HALF = {"weights": "bfloat16"}
CHECKPOINTED = {"gradient_checkpointing": True}


class Setting(NamedTuple):
    """One way of training a model of a shape.

    Attributes:
        shape: The shape's name.
        name: As it is printed.
        settings: Of `train`, over the defaults.
        by_trl: Whether TRL's trainer takes the steps.
        needs: Libraries without which it does not run.
    """

    shape: str
    name: str
    settings: dict[str, Any]
    by_trl: bool = False
    needs: tuple[str, ...] = ()


# What matters most comes first: where time runs out, the rest is left out.
SETTINGS = (
    Setting("8B", "DPO, LoRA", LORA, needs=("peft",)),
    Setting("8B", "DPO, LoRA, TRL", LORA, by_trl=True, needs=("peft", "trl")),
    Setting("8B", "KTO, LoRA", LORA | {"method": "kto"}, needs=("peft",)),
    Setting("8B", "KTO, LoRA, TRL", LORA | {"method": "kto"}, by_trl=True, needs=("peft", "trl")),
    Setting("8B", "DPO, full, float32", CHECKPOINTED),
    Setting("8B", "DPO, full, bfloat16", HALF | CHECKPOINTED),
    Setting("1B", "DPO, full, float32", {}),
    Setting("1B", "DPO, full, float32, TRL", {}, by_trl=True, needs=("trl",)),
    Setting("1B", "KTO, full, float32", {"method": "kto"}),
    Setting("1B", "KTO, full, float32, TRL", {"method": "kto"}, by_trl=True, needs=("trl",)),
    Setting("1B", "DPO, LoRA", LORA, needs=("peft",)),
    Setting("0.5B", "DPO, full, float32", {}),
    Setting("0.5B", "DPO, full, float32, TRL", {}, by_trl=True, needs=("trl",)),
    Setting("0.5B", "KTO, full, float32", {"method": "kto"}),
    Setting("0.5B", "DPO, LoRA", LORA, needs=("peft",)),
    # One line for each setting that changes what a step takes.
    Setting("1B", "DPO, full, packed", {"layout": "packed"}),
    Setting("1B", "DPO, full, padded", {"layout": "padded"}),
    Setting("1B", "KTO, full, padded", {"layout": "padded", "method": "kto"}),
    Setting("1B", "DPO, full, bfloat16", HALF),
    Setting("1B", "DPO, full, bfloat16, master copy", HALF | {"rounding": "master"}),
    Setting("1B", "DPO, full, checkpointed", CHECKPOINTED),
    Setting("1B", "DPO, full, adafactor", {"optimizer": "adafactor"}),
    Setting("1B", "DPO, full, adamw_8bit", {"optimizer": "adamw_8bit"}, needs=("bitsandbytes",)),
)


def ways(machine: Machine, shapes: Sequence[Shape]) -> Iterator[Way]:
    """Each setting on its shape."""
    by_name = {shape.name: shape for shape in shapes}
    for setting in SETTINGS:
        shape = by_name[setting.shape]
        yield f"{shape.name} {setting.name}", lambda setting=setting, shape=shape: _measured(machine, shape, setting)


def train_config(shape: Shape, setting: Setting) -> TrainConfig:
    """The settings whole."""
    steps = {"batch_rows": shape.batch, "micro_batch_rows": shape.micro_batch, "max_steps": STEPS + 1}
    return TrainConfig(**STEADY | steps | {"method": "dpo", "loss": {"beta": 0.1}} | setting.settings)


def _measured(machine: Machine, shape: Shape, setting: Setting) -> Line:
    way = f"{shape.name} {setting.name}"
    missing = [name for name in setting.needs if importlib.util.find_spec(name) is None]
    if missing:
        return Line("step", way, note=f"skipped: {', '.join(missing)} is not installed")
    config = train_config(shape, setting)
    pairs = random_pairs([shape.lengths] * shape.batch * (STEPS + 1), shape.settings["vocab_size"])
    rows: Sequence[Row] = pairs if config.method == "dpo" else alternating(pairs)
    model = random_model(shape, getattr(torch, config.weights), machine.device)
    flops, ends = flops_of(model, trained=config.adapter == "none"), _Ends(machine)
    with tempfile.TemporaryDirectory() as name:
        (_trl if setting.by_trl else _ours)(machine, model, config, rows, Path(name), ends)
    step = rows[: shape.batch]
    return Line("step", way, ends.seconds(), _tokens(step), _step_flops(flops, step), machine.gib())


class _Ends:
    """When each step ended."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._times = machine, [0.0]

    def note(self, _: int) -> None:
        self._machine.wait()
        self._times.append(time.perf_counter())

    def seconds(self) -> float:
        """Of a step, the mean of those after the first."""
        return (self._times[-1] - self._times[-1 - STEPS]) / STEPS


Note = Callable[[int], None]


def _ours(machine: Machine, model: Any, config: TrainConfig, rows: Sequence[Row], folder: Path, ends: _Ends) -> None:
    policy = policy_of(
        model,
        machine.device,
        torch.bfloat16,
        dtype=config.dtype,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    trainer_of(policy, config, rows, folder).run(ends.note)


def _trl(machine: Machine, model: Any, config: TrainConfig, rows: Sequence[Row], folder: Path, ends: _Ends) -> None:
    other = {}
    if config.adapter == "lora":
        from peft import LoraConfig

        lora = config.lora
        other["peft_config"] = LoraConfig(
            task_type="CAUSAL_LM", r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", lora_dropout=0.0
        )
    ordered = in_our_order(rows, config)
    trl_trainer(model, config, ordered, folder, tokenizer=tiny_tokenizer(), each_step=ends.note, **other).train()


def _tokens(rows: Sequence[Row]) -> int:
    return sum(sequence.length for row in rows for sequence in row.sequences)


def _step_flops(flops: Flops, rows: Sequence[Row]) -> float:
    """Of one step's rows, each sequence by itself; mismatched rows take no gradient."""
    total = 0.0
    for row in rows:
        trained = (row.matched,) if isinstance(row, UnpairedRow) else row.sequences
        for sequence in row.sequences:
            count = flops.both if sequence in trained else flops.forward
            total += count(sequence.length, len(sequence.completion_token_ids), sequence.length**2)
    return total
