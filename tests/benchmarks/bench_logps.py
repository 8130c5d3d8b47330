"""Log-probs from hidden states: CPU time and memory of `losses.logps` and others beside full logits, in one run.

`--tokens` tokens, forward and backward, in float32, in bfloat16, or under bfloat16 autocast of float32 weights. Memory
is the growth of the process's peak over inputs and gradients, each way in a fresh process after a small warm-up. Ratios
are to full logits of the same case, which computes them at every position, as models do.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from thumbline.losses.logps import DEFAULT_KEPT_BYTES, DEFAULT_TILE, Head, token_logps

Scores = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _full(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = torch.nn.functional.linear(states, weight).float()
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def _torch_chunked(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # One sum over all tokens: that is all it gives in chunks, so it cannot tell chosen from rejected.
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256)
    summed = torch.nn.functional.linear_cross_entropy(states, weight, targets, reduction="sum", options=options)
    return -summed[None]


def _trl_chunked(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from trl.kernels import ChunkedLogProbFunction

    return ChunkedLogProbFunction.apply(states, weight, None, targets, 1.0, 32768, None, 1.0, ())[0]


def _liger(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # It gives the loss of a whole method, here DPO's without a reference on one pair, and computes every position.
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    method = LigerFusedLinearDPOLoss(compiled=False, use_ref_model=False, compute_nll_loss=False)
    pair = states.reshape(2, -1, states.shape[1])
    return method(weight, pair, targets.reshape(2, -1))[0][None]


def _ours(tile: int, kept_bytes: int) -> Scores:
    return lambda states, weight, targets: token_logps(states, Head(weight), targets, tile, kept_bytes)


def _ways(tile: int) -> dict[str, Scores]:
    return {
        "full logits": _full,
        "losses.logps": _ours(tile, DEFAULT_KEPT_BYTES),
        "nothing kept": _ours(tile, 0),
        "TRL": _trl_chunked,
        "torch": _torch_chunked,
        "Liger": _liger,
    }


# Every token scored with the head trained, and with it frozen; 40% of tokens scored with it trained.
_CASES = ("trained", "frozen", "40%")
# Ways that compute logits at every position, scored or not, as models do.
_EVERY_POSITION = ("full logits", "Liger")


class Case(NamedTuple):
    """One row of the table, and the shapes it is measured at."""

    scored: float
    frozen: bool
    tokens: int
    hidden: int
    vocabulary: int
    dtype: torch.dtype
    autocast: bool


def _measure(way: str, tile: int, case: Case) -> tuple[float, float]:
    """CPU-seconds, which other work on the machine moves least, and MiB of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(case.tokens, case.hidden, generator=generator).to(case.dtype).requires_grad_()
    weight = torch.randn(case.vocabulary, case.hidden, generator=generator).div_(case.hidden**0.5).to(case.dtype)
    weight.requires_grad_(not case.frozen)
    targets = torch.randint(case.vocabulary, (case.tokens,), generator=generator)
    scores = _ways(tile)[way]
    _pass(scores, states[:8].detach().requires_grad_(), weight[:64].detach(), targets[:8] % 64, 8, 8, case.autocast)
    leaves = [states] if case.frozen else [states, weight]
    # The gradients that come back are not workspace: room for them is taken before, and counted out.
    room = [torch.ones_like(leaf) for leaf in leaves]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del room
    start = time.process_time()
    every = case.tokens if way in _EVERY_POSITION else int(case.tokens * case.scored)
    gradients = _pass(scores, states, weight, targets, every, int(case.tokens * case.scored), case.autocast)
    seconds = time.process_time() - start
    assert len(gradients) == len(leaves)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _pass(
    scores: Scores,
    states: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    computed: int,
    scored: int,
    autocast: bool,
) -> tuple[torch.Tensor, ...]:
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = scores(states[:computed], weight, targets[:computed])[:scored]
    return torch.autograd.grad(result.sum(), [leaf for leaf in (states, weight) if leaf.requires_grad])


def _in_fresh_process(*arguments: Any) -> tuple[float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, arguments)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "autocast"], default="float32")
    parser.add_argument("--tile", type=int, default=DEFAULT_TILE)
    parser.add_argument("--ways", nargs="+", choices=list(_ways(1)), default=list(_ways(1)))
    parser.add_argument("--cases", nargs="+", choices=_CASES, default=_CASES)
    chosen = parser.parse_args()
    autocast = chosen.dtype == "autocast"
    dtype = torch.float32 if autocast else getattr(torch, chosen.dtype)
    shape = (chosen.tokens, chosen.hidden, chosen.vocabulary, dtype, autocast)
    print(
        f"hidden {chosen.hidden}, vocabulary {chosen.vocabulary:,}, {chosen.tokens:,} tokens, {chosen.dtype}, "
        f"{torch.get_num_threads()} threads"
    )
    cases = dict(
        zip(_CASES, (Case(1.0, False, *shape), Case(1.0, True, *shape), Case(0.4, False, *shape)), strict=True)
    )
    print(f"{'case':<10}{'way':<14}{'CPU-s':>8}{'ratio':>7}{'MiB':>8}{'ratio':>7}")
    for name in chosen.cases:
        case = cases[name]
        base: tuple[float, float] | None = None
        for way in chosen.ways:
            seconds, memory = _in_fresh_process(way, chosen.tile, case)
            base = base or (seconds, memory)
            print(
                f"{name:<10}{way:<14}{seconds:>8.2f}{seconds / base[0]:>7.2f}{memory:>8.0f}{memory / base[1]:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
