"""Scoring a reference: tokens a second of each engine that is installed, on a model of 0.5B weights."""

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.engine_inputs import sequence
from tests.tiny import tiny_tokenizer
from tests.trl_trainers import random_pairs
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.registry import open_engine

from .machine import Line, Machine, Way
from .shapes import Shape, flops_of, random_model

PAIRS, DRY_PAIRS = 64, 4


def ways(machine: Machine, shape: Shape) -> Iterator[Way]:
    """Each engine."""
    for engine in ("hf", "vllm"):
        yield f"{shape.name} {engine}", lambda engine=engine: _measured(machine, shape, engine)


def _measured(machine: Machine, shape: Shape, engine: str) -> Line:
    way = f"{shape.name} {engine}"
    if engine == "vllm" and importlib.util.find_spec("vllm") is None:
        return Line("scoring", way, note="skipped: vllm is not installed")
    if engine == "vllm" and machine.device.type == "cpu":
        return Line("scoring", way, note="skipped: on a CPU bench_scoring measures it")
    pairs = random_pairs([shape.lengths] * (DRY_PAIRS if machine.dry else PAIRS), shape.settings["vocab_size"])
    rows: list[TokenSequence] = [
        sequence(side.prompt_token_ids, side.completion_token_ids) for pair in pairs for side in pair.sequences
    ]
    with tempfile.TemporaryDirectory() as name:
        model = random_model(shape, torch.bfloat16, machine.device)
        flops = flops_of(model, trained=False)
        model.save_pretrained(name)
        tiny_tokenizer().save_pretrained(name)
        del model
        machine.forget()
        longest = max(len(row.prompt_token_ids) + len(row.completion_token_ids) for row in rows)
        opened = open_engine(EngineConfig(engine=engine, dtype="bfloat16"), Path(name), longest)
        try:
            opened.score(rows[:2])
            started = time.perf_counter()
            opened.score(rows)
            seconds = time.perf_counter() - started
        finally:
            opened.close()
    lengths = [(len(row.prompt_token_ids), len(row.completion_token_ids)) for row in rows]
    total = sum(map(sum, lengths))
    least = sum(flops.forward(prompt + answer, answer, (prompt + answer) ** 2) for prompt, answer in lengths)
    # vLLM's memory is in a process of its own, and as large as it is told to take.
    return Line("scoring", way, seconds, total, least, machine.gib() if engine == "hf" else None)
