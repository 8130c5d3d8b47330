"""Log-probs from hidden states: time and memory of `losses.logps` beside full logits, as ratios in one run.

`--tokens` tokens, forward and backward, float32, head trained, frozen, and with 40% of tokens scored.
Memory is the growth of the process's peak over inputs and gradients, each way in a fresh process.
"""

import argparse
import multiprocessing
import resource
import time
from typing import Any

import torch

from losses.logps import Head, token_logps

_WAYS = ("full", "chunked")


def _full(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(states, weight).log_softmax(-1).gather(1, targets[:, None])[:, 0]


def _measure(way: str, tokens: int, scored: float, hidden: int, vocabulary: int, frozen: bool) -> tuple[float, float]:
    """Seconds and MiB of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(tokens, hidden, generator=generator).requires_grad_()
    weight = (torch.randn(vocabulary, hidden, generator=generator) / hidden**0.5).requires_grad_(not frozen)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    states.grad = torch.zeros_like(states)
    if not frozen:
        weight.grad = torch.zeros_like(weight)
    rows = torch.arange(int(tokens * scored))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    if way == "full":
        result = _full(states, weight, targets)[rows]
    else:
        result = token_logps(states[rows], Head(weight), targets[rows])
    torch.autograd.backward(result.sum())
    seconds = time.perf_counter() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _in_fresh_process(*arguments: Any) -> tuple[float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, arguments)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--vocabulary", type=int, default=49152)
    arguments = parser.parse_args()
    shape = (arguments.hidden, arguments.vocabulary)
    print(f"hidden {shape[0]}, vocabulary {shape[1]:,}, {arguments.tokens:,} tokens, {torch.get_num_threads()} threads")
    print(f"{'case':<28}{'full s':>8}{'ours s':>8}{'ratio':>7}{'full MiB':>10}{'ours MiB':>10}{'ratio':>7}")
    cases = {
        "every token, head trained": (1.0, False),
        "every token, head frozen": (1.0, True),
        "40% scored": (0.4, False),
    }
    for name, (scored, frozen) in cases.items():
        (full_s, full_m), (own_s, own_m) = (
            _in_fresh_process(way, arguments.tokens, scored, *shape, frozen) for way in _WAYS
        )
        print(
            f"{name:<28}{full_s:>8.2f}{own_s:>8.2f}{own_s / full_s:>7.2f}{full_m:>10.0f}{own_m:>10.0f}"
            f"{own_m / full_m:>7.2f}"
        )


if __name__ == "__main__":
    main()
