"""How the model lies on the processes: a copy on each (DDP), or its weights shared out (FSDP2)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ...errors import ConfigError, InputError
from ...peers import Peers
from ..policy import Policy, choose_device
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


def copied(policy: Policy) -> Policy:
    """The policy, whole in each process, as one of the copies that exchange their gradients."""
    copies = DistributedDataParallel(
        policy.scorer,
        # There are none that training changes.
        broadcast_buffers=False,
        # A layer of experts may send no token of a batch to one of them.
        find_unused_parameters=_has_experts(policy.model),
        gradient_as_bucket_view=True,
    )
    return replace(policy, scorer=copies)


def own_device(name: str, peers: Peers) -> torch.device:
    """Where one of several processes computes: of a machine's GPUs each takes the one of its number.

    Args:
        name: `auto`, `cpu` or `cuda`.
        peers: The processes.

    Raises:
        InputError: There is none of that kind, or there are fewer GPUs than processes.
        ConfigError: The setting names one GPU for all of them.
    """
    device = choose_device(name)
    if device.type != "cuda":
        return device
    if ":" in name:
        raise ConfigError(f"train.device: each of {peers.size} processes takes a GPU of its own; set it to cuda.")
    if peers.local_rank >= torch.cuda.device_count():
        raise InputError(
            f"train: process {peers.local_rank + 1} of this machine has no GPU: {torch.cuda.device_count()} are "
            f"visible. Start as many processes as there are GPUs (torchrun --nproc-per-node), or set train.device to "
            f"cpu."
        )
    return torch.device("cuda", peers.local_rank)


def shared_out(policy: Policy, team: Team) -> Policy:
    """The policy with its weights shared out; they are other tensors afterwards, on each process's device.

    Each layer is gathered when it runs; embeddings, last norm and head, which may be one weight, while any runs.

    Args:
        policy: The whole untrained model with its adapter; only the first process's weights need be written.
        team: The processes; each calls this.

    Raises:
        ConfigError: No layers are found that could be shared out one by one.
    """
    device = team.device or policy.device
    autocast: Any = policy.scorer.autocast_dtype
    mesh = init_device_mesh(device.type, (team.size,))
    weights = {name: weight.detach() for name, weight in policy.scorer.named_parameters()} if team.is_first else {}
    for layer in layers_of(policy.model):
        _share_layer(layer, mesh, autocast)
    fully_shard(policy.scorer, mesh=mesh)
    _fill(policy.scorer, weights, device)
    policy.scorer.register_forward_hook(_let_go)
    return replace(policy, device=device)


def _share_layer(layer: torch.nn.Module, mesh: DeviceMesh, multiplied: torch.dtype | None) -> None:
    """Share out a layer; its matrices are gathered in the type that they are multiplied in, the rest as it is.

    Autocast would make copies of whole matrices in that type, and the backward pass keep them all. A sum over processes
    stays in float32, as gradients under autocast are added up.
    """
    if multiplied is None:
        fully_shard(layer, mesh=mesh)
        return
    for module in list(layer.modules()):
        own = list(module.parameters(recurse=False))
        if own and all(weight.dim() < 2 for weight in own):
            # Norms, which autocast leaves alone.
            fully_shard(module, mesh=mesh)
    kept = MixedPrecisionPolicy(multiplied, reduce_dtype=torch.float32, cast_forward_inputs=False)
    fully_shard(layer, mesh=mesh, mp_policy=kept)


@torch.no_grad()
def _fill(scorer: torch.nn.Module, weights: dict[str, torch.Tensor], device: torch.device) -> None:
    """Give every process its part of the first one's weights, and all of its buffers; one weight is whole at a time."""
    for name, weight in scorer.named_parameters():
        value = (
            weights.pop(name).to(device) if weights else torch.empty(weight.shape, dtype=weight.dtype, device=device)
        )
        weight.copy_(spread(value, weight))
    for buffer in scorer.buffers():
        distributed.broadcast(buffer, src=0)


def _let_go(scorer: Any, *_: Any) -> None:
    """Share out again what a backward pass would: without one, weights would be read as they were when gathered."""
    if not torch.is_grad_enabled():
        scorer.reshard()


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
        scorer: The policy's, whole, or as `copied` or `shared_out` gave it.
        last: Whether it is the last pass of the step.
    """
    if isinstance(scorer, DistributedDataParallel) and not last:
        with scorer.no_sync():
            yield
    else:
        yield


def is_shared_out(scorer: torch.nn.Module) -> bool:
    """Whether its weights are shared out among processes."""
    return isinstance(scorer, FSDPModule)


def is_part(tensor: torch.Tensor) -> bool:
    """Whether a tensor is shared out among processes."""
    return isinstance(tensor, DTensor)


def spread(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor shared out as another of its shape is; as it is where that one is whole, or of another shape."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be shared out; every process calls this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weights(weights: Mapping[str, torch.Tensor], team: Team) -> dict[str, torch.Tensor]:
    """Weights as one process would hold them, on the first one's CPU; every process calls this, and others get none.

    Args:
        weights: By name; they may be shared out.
        team: The processes.
    """
    kept = {}
    for name, weight in weights.items():
        value = whole(weight)
        if team.is_first:
            kept[name] = value.cpu()
    return kept


def whole_policy(policy: Policy, team: Team, untrained: Callable[[], Policy]) -> Policy | None:
    """The trained policy as one process would hold it, in the first process; None in the others, which call this too.

    Args:
        policy: Trained; whole, or as `copied` or `shared_out` gave it.
        team: The processes.
        untrained: Loads the policy on the CPU as it was before training: what was trained is put in its place, one
            weight at a time.
    """
    if not is_shared_out(policy.scorer):
        return policy if team.is_first else None
    fresh = untrained() if team.is_first else None
    places = {} if fresh is None else dict(fresh.model.named_parameters())
    for name, weight in policy.model.named_parameters():
        if weight.requires_grad:
            value = whole(weight.detach())
            if places:
                places[name].data.copy_(value)
    return fresh
