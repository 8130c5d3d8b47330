"""Which part of a training step runs, and what its tensors are for, told to the ledger by hooks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from ..training.policy import Policy
from ..training.rollouts.values import VALUE_MODEL
from .ledger import Ledger

_NUMBER: Final = re.compile(r"\.(\d+)\.")


@contextmanager
def watched(policy: Policy, optimizer: torch.optim.Optimizer, ledger: Ledger) -> Iterator[None]:
    """A step's own phases: the ledger is told which one runs, and what tensors are for.

    Args:
        policy: With shapes for weights.
        optimizer: Of its weights.
        ledger: Changed meanwhile.
    """
    values = getattr(policy.model, VALUE_MODEL, None)
    bodies = [policy.model.base_model, *([] if values is None else [values.base_model])]
    hooks = [
        policy.scorer.register_forward_pre_hook(lambda *_: _enter(ledger, "forward", "head")),
        *(one.register_forward_pre_hook(lambda *_: _enter(ledger, "forward", "activations")) for one in bodies),
        *(one.register_forward_hook(lambda *_: _enter(ledger, "forward", "head")) for one in bodies),
        optimizer.register_step_pre_hook(lambda *_: _enter(ledger, "optimizer", "optimizer")),
        *_gradient_hooks(policy, ledger),
    ]
    backward = torch.autograd.backward

    def marked(*arguments: Any, **named: Any) -> None:
        _enter(ledger, "backward 1", "working")
        backward(*arguments, **named)
        _enter(ledger, "optimizer", "working")

    torch.autograd.backward = marked
    try:
        yield
    finally:
        torch.autograd.backward = backward
        for hook in hooks:
            hook.remove()


def _enter(ledger: Ledger, phase: str, kind: str) -> None:
    if not (phase == "forward" and ledger.phase.startswith("backward")):
        # What gradient checkpointing computes again in the backward pass is a part of it.
        ledger.phase, ledger.kind = phase, kind


def _gradient_hooks(policy: Policy, ledger: Ledger) -> Iterator[Any]:
    """Gradients are counted as such, and part the backward pass: the last layer, those between, and what is below all.

    Memory then grows or shrinks evenly inside each part, so that its peak is a line over the number of layers.
    """
    # A second model that predicts rewards has layers of its own, beside those that part the pass.
    layers = {
        name: None if name.startswith(VALUE_MODEL) else _layer(name) for name, _ in policy.model.named_parameters()
    }
    last = max((layer for layer in layers.values() if layer is not None), default=0)
    first = [name for name, weight in policy.model.named_parameters() if layers[name] == 0 and weight.requires_grad]
    arrived: set[str] = set()

    def arrives(name: str) -> Any:
        def hook(weight: torch.Tensor) -> None:
            if weight.grad is not None:
                ledger.rename(weight.grad.untyped_storage(), "gradients")
            layer = layers[name]
            arrived.update({name} if layer == 0 else ())
            if len(arrived) == len(first):
                _enter(ledger, "backward 3", "working")
                arrived.clear()
            elif layer is not None and layer < last and ledger.phase == "backward 1":
                _enter(ledger, "backward 2", "working")

        return hook

    for name, weight in policy.model.named_parameters():
        if weight.requires_grad:
            yield weight.register_post_accumulate_grad_hook(arrives(name))


def _layer(name: str) -> int | None:
    found = _NUMBER.search(name)
    return None if found is None else int(found.group(1))
