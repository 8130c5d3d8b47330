"""The head alone: hidden states to log-probs and back, by every way there is."""

import importlib.util
from collections.abc import Callable, Iterator

import torch

from thumbline.losses.logps import Head, token_logps

from .machine import Line, Machine, Way

# Tokens, hidden size and vocabulary of an 8B model's head over a micro-batch's completions.
SHAPE, DRY_SHAPE = (4096, 4096, 128_256), (48, 32, 512)
Scores = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def ways(machine: Machine) -> Iterator[Way]:
    """Head trained and frozen, each by every library that is installed."""
    for trained in (True, False):
        for name, scores in _forms(machine.device).items():
            full = f"{name}, head {'trained' if trained else 'frozen'}"
            yield full, lambda full=full, scores=scores, trained=trained: _measured(machine, full, scores, trained)


def _forms(device: torch.device) -> dict[str, Scores]:
    forms: dict[str, Scores] = {"full logits": _full, "losses.logps": _ours, "torch, in chunks": _torch}
    if importlib.util.find_spec("trl") is not None:
        forms["TRL"] = _trl
    if device.type == "cuda" and importlib.util.find_spec("liger_kernel") is not None:
        forms["Liger"] = _liger
    return forms


def _full(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (states @ weight.T).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]


def _ours(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return token_logps(states, Head(weight), targets)


def _torch(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # One sum over all tokens: in chunks it gives no more, so chosen and rejected cannot be told apart.
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=1024)
    return -torch.nn.functional.linear_cross_entropy(states, weight, targets, reduction="sum", options=options)[None]


def _trl(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from trl.kernels import ChunkedLogProbFunction

    return ChunkedLogProbFunction.apply(states, weight, None, targets, 1.0, 32768, None, 1.0, ())[0]


def _liger(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return -liger_fused_linear_cross_entropy(states, weight, targets, reduction="sum")[None]


def _measured(machine: Machine, way: str, scores: Scores, trained: bool) -> Line:
    tokens, hidden, vocabulary = DRY_SHAPE if machine.dry else SHAPE
    generator = torch.Generator(machine.device).manual_seed(0)
    settings = {"device": machine.device, "dtype": torch.bfloat16, "generator": generator}
    states = torch.randn(tokens, hidden, **settings).requires_grad_()
    weight = torch.randn(vocabulary, hidden, **settings).div_(hidden**0.5).requires_grad_(trained)
    targets = torch.randint(vocabulary, (tokens,), device=machine.device, generator=generator)
    leaves = [leaf for leaf in (states, weight) if leaf.requires_grad]
    machine.forget()

    def work() -> object:
        return torch.autograd.grad(scores(states, weight, targets).sum(), leaves)

    seconds = machine.seconds(work, 1 if machine.dry else 5)
    # A product forwards, one for the states' gradient, and one for the weight's.
    flops = 2.0 * tokens * hidden * vocabulary * (3 if trained else 2)
    return Line("head", way, seconds, tokens, flops, machine.gib())
