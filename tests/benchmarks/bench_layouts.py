"""What prompt sharing and packing save: forward and backward of a step, padded, packed and shared, side by side.

Each layout runs in a process of its own, on the same rows, after one step that is not counted. Memory is the peak over
what the process held before, with the model in it. Rows are pairs (DPO), or rows with mismatched partners on the same
prompts that are measured in the same call (`--rows kto`). `--model demo` takes the demo model; without it four layers
of its widths. `--kernels` compares attention of one segment instead: plain products and torch's fused kernel.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.tiny import save_random_llama
from thumbline.pipeline.engines.models import resolve_model
from thumbline.pipeline.training.attention.segments import Masks
from thumbline.pipeline.training.attention.short import ShortAttention
from thumbline.pipeline.training.policy import Policy, load_policy
from thumbline.pipeline.training.probe import with_layout
from thumbline.pipeline.training.rows import TrainingSequence

LAYOUTS = ("padded", "packed", "shared")
_HEADS, _KEY_HEADS, _SIZE = 9, 3, 64


class Work(NamedTuple):
    """What each process does."""

    model_dir: Path
    dtype: str
    rows: str
    prompt: int
    completion: int
    vary: float
    micro_batches: int
    micro_batch_rows: int
    steps: int
    checkpointing: bool
    profile: bool


class Cost(NamedTuple):
    """CPU-seconds a step, GiB at its peak over the model, tokens computed, and the probe's seconds."""

    seconds: float
    memory: float
    tokens: int
    probe_seconds: float


def _save_model(folder: Path) -> Path:
    """Four layers of SmolLM2-135M's widths, with its vocabulary."""
    return save_random_llama(
        folder,
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=4,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KEY_HEADS,
        tie_word_embeddings=True,
    )


def _micro_batches(work: Work) -> list[tuple[list[TrainingSequence], list[TrainingSequence]]]:
    """Sequences and partners of each forward pass; lengths lie within `vary` of their mean."""
    generator = torch.Generator().manual_seed(0)

    def draw(mean: int) -> tuple[int, ...]:
        spread = int(mean * work.vary)
        count = mean + (int(torch.randint(-spread, spread + 1, (), generator=generator)) if spread else 0)
        return tuple(torch.randint(5, 49_000, (count,), generator=generator).tolist())

    made = []
    for _ in range(work.micro_batches):
        prompts = [draw(work.prompt) for _ in range(work.micro_batch_rows)]
        first, second = (
            [TrainingSequence("s", prompt, draw(work.completion), None) for prompt in prompts] for _ in range(2)
        )
        made.append((first, second) if work.rows == "kto" else (first + second, []))
    return made


def _step(policy: Policy, parts: list[tuple[list[TrainingSequence], list[TrainingSequence]]]) -> None:
    for sequences, partners in parts:
        passed = policy.pass_over(sequences, partners=partners)
        torch.autograd.backward(passed.completions.logps.sum() / 1000)
    policy.model.zero_grad(set_to_none=True)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def _measure(layout: Any, work: Work, queue: Any) -> None:
    torch.set_num_threads(1)
    loaded = load_policy(work.model_dir, device="cpu", dtype=work.dtype, gradient_checkpointing=work.checkpointing)
    started = time.process_time()
    policy = with_layout(loaded, layout).policy
    probed = time.process_time() - started
    parts = _micro_batches(work)
    _step(policy, parts)
    tokens = sum(policy.meter.take())
    Path("/proc/self/clear_refs").write_text("5")
    before, taken = _status("VmRSS"), []
    for _ in range(work.steps):
        started = time.process_time()
        _step(policy, parts)
        taken.append(time.process_time() - started)
    peak = _status("VmHWM") - before
    if work.profile:
        with torch.profiler.profile() as profile:
            _step(policy, parts)
        print(
            layout, profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=60)
        )
    queue.put(Cost(min(taken), peak / 2**20, tokens, probed))


def _print_layouts(options: argparse.Namespace) -> None:
    context, costs = multiprocessing.get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        model_dir = resolve_model(options.model) if options.model else _save_model(Path(folder))
        names = [name for name in Work._fields if name != "model_dir"]
        work = Work(model_dir, **{name: getattr(options, name) for name in names})
        for layout in LAYOUTS if options.layout is None else [options.layout]:
            queue = context.Queue()
            process = context.Process(target=_measure, args=(layout, work, queue))
            process.start()
            costs[layout] = queue.get(timeout=1800)
            process.join()
    first = next(iter(costs.values()))
    print(
        f"{options.rows}, {options.dtype}, {options.prompt}/{options.completion} tokens, lengths +-{options.vary:.0%}"
    )
    print(f"{'':8} CPU-s a step  speed   peak GiB  of padded   tokens  probe CPU-s")
    for layout, cost in costs.items():
        print(
            f"{layout:8} {cost.seconds:12.2f} {first.seconds / cost.seconds:6.2f} {cost.memory:10.2f} "
            f"{cost.memory / first.memory:10.2f} {cost.tokens:8} {cost.probe_seconds:12.2f}"
        )


def _kernels(queries: int, keys: int, dtype: torch.dtype) -> dict[str, float]:
    """CPU-milliseconds of a segment's forward and backward, by way."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(1, length, heads, _SIZE, generator=generator).to(dtype).transpose(1, 2).requires_grad_()
        for length, heads in ((queries, _HEADS), (keys, _KEY_HEADS), (keys, _KEY_HEADS))
    ]
    masks, device, scale = Masks(), torch.device("cpu"), _SIZE**-0.5
    bias = masks.bias(queries, keys, None, dtype, device)
    mask = None if queries == keys else masks.allowed(queries, keys, None, device)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "products": lambda: ShortAttention.apply(*tensors, bias, scale),
        "fused": lambda: torch.nn.functional.scaled_dot_product_attention(
            *tensors, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        ),
    }
    return {name: _milliseconds(attend, repeats=max(4, 2**19 // (queries * keys))) for name, attend in ways.items()}


def _milliseconds(attend: Callable[[], torch.Tensor], repeats: int) -> float:
    taken = []
    for _ in range(4):
        started = time.process_time()
        for _ in range(repeats):
            attend().sum().backward()
        taken.append((time.process_time() - started) / repeats * 1000)
    return min(taken)


def _print_kernels() -> None:
    torch.set_num_threads(1)
    print("queries  keys  dtype     products ms  fused ms  ratio")
    for dtype in (torch.bfloat16, torch.float32):
        for queries, keys in ((32, 128), (128, 128), (128, 256), (128, 512), (384, 384), (640, 640), (1024, 1024)):
            taken = _kernels(queries, keys, dtype)
            print(
                f"{queries:7} {keys:5}  {str(dtype)[6:]:8} {taken['products']:12.2f} {taken['fused']:9.2f} "
                f"{taken['fused'] / taken['products']:6.2f}"
            )


def main() -> None:
    """Print a table of the layouts, or of the kernels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--model", help="a model as in a run file; four layers of random weights where not given")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--rows", choices=("dpo", "kto"), default="dpo")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--completion", type=int, default=128)
    parser.add_argument("--vary", type=float, default=0.0, help="lengths lie within this share of their mean")
    parser.add_argument("--micro_batches", type=int, default=2)
    parser.add_argument("--micro_batch_rows", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--layout", choices=LAYOUTS)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.kernels:
        _print_kernels()
    else:
        _print_layouts(options)


if __name__ == "__main__":
    main()
