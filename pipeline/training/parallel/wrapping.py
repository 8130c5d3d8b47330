"""How the model lies on the processes: a copy on each (DDP), or its weights shared out (FSDP2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ...errors import ConfigError
from ..policy import Policy
from .team import Team

Way = Literal["none", "ddp", "fsdp"]


def way_of(distributed: str, adapter: str) -> Way:
    """How a model is trained in several processes.

    Args:
        distributed: The setting; `auto` keeps a copy on each process where an adapter is trained, and shares out the
            weights where all of them are, whose gradients and optimiser state fill a device.
        adapter: Kind of adapter; `none` where all weights are trained.
    """
    if distributed == "auto":
        return "fsdp" if adapter == "none" else "ddp"
    return "fsdp" if distributed == "fsdp" else "ddp" if distributed == "ddp" else "none"


def wrapped(policy: Policy, team: Team, way: Way) -> Policy:
    """The policy as this process holds it; the weights that are to be trained are other tensors afterwards under FSDP2.

    Args:
        policy: The whole untrained model with its adapter, alike in every process.
        team: The processes.
        way: How the model lies on them.

    Raises:
        ConfigError: No layers are found that could be shared out one by one.
    """
    if way == "ddp":
        copies = DistributedDataParallel(
            policy.scorer,
            # There are none that training changes.
            broadcast_buffers=False,
            # A layer of experts may send no token of a batch to one of them.
            find_unused_parameters=_has_experts(policy.model),
            gradient_as_bucket_view=True,
        )
        return replace(policy, scorer=copies)
    if way == "fsdp":
        _share_out(policy, team)
        return replace(policy, device=team.device or policy.device)
    return policy


def _share_out(policy: Policy, team: Team) -> None:
    """Each layer is gathered when it runs; embeddings, last norm and head, which may be one weight, while all run."""
    device = team.device or policy.device
    mesh = init_device_mesh(device.type, (team.size,))
    for layer in layers_of(policy.model):
        fully_shard(layer, mesh=mesh)
    fully_shard(policy.scorer, mesh=mesh)


def layers_of(model: Any) -> list[torch.nn.Module]:
    """The blocks of a transformers model that are repeated: those that it says must stay whole, the outermost.

    Raises:
        ConfigError: It has none.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    found = list(_outermost(model, names))
    if not found:
        raise ConfigError(
            f"train.distributed: fsdp shares out a model's layers, and {type(model).__name__} does not say which "
            f"modules are its layers (_no_split_modules). Set it to ddp."
        )
    return found


def _outermost(module: torch.nn.Module, names: set[str]) -> Iterator[torch.nn.Module]:
    for child in module.children():
        if type(child).__name__ in names and any(True for _ in child.parameters()):
            yield child
        else:
            yield from _outermost(child, names)


def _has_experts(model: Any) -> bool:
    return any("expert" in name for name, _ in model.named_modules())


@contextmanager
def exchanging(scorer: torch.nn.Module, last: bool) -> Iterator[None]:
    """A forward and backward pass of a step of several, after whose last one every process holds the same gradient.

    Copies exchange their gradients once, at the last. Shared-out weights do so at each pass: to wait for the last
    would need room for the whole gradient in every process.

    Args:
        scorer: As `wrapped` gave it.
        last: Whether it is the last pass of the step.
    """
    if isinstance(scorer, DistributedDataParallel) and not last:
        with scorer.no_sync():
            yield
    else:
        yield


def settle(scorer: torch.nn.Module) -> None:
    """Share out again what a forward pass without a backward one left gathered, so that weights read as they lie."""
    if isinstance(scorer, FSDPModule):
        scorer.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be shared out; every process calls this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
