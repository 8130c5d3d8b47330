"""The processes that train one model together, and what they tell each other; one process is a team of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import distributed
from torch.distributed import DistNetworkError

from ...errors import TrainingError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_Value = TypeVar("_Value")
# A process may hash, load or write a model while the others wait for it.
_PATIENCE: Final = timedelta(hours=2)


@dataclass(frozen=True)
class Team:
    """The processes of one training.

    Attributes:
        rank: This process's number, from 0.
        size: Number of processes.
        device: Where this process computes; None where the settings alone say it.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def is_several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def gather(self, value: _Value) -> list[_Value]:
        """The value that each process gives, in their order; every process calls this.

        Args:
            value: Picklable; tensors in it lie on the CPU.
        """
        if not self.is_several:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def from_first(self, value: _Value) -> _Value:
        """The first process's value, in every process: for what hangs on a clock or a disk."""
        return self.gather(value)[0]

    def wait(self) -> None:
        """Return once every process has come here."""
        self.gather(None)


ALONE: Final = Team()


@contextmanager
def joined(store: "Store", rank: int, size: int, device: torch.device) -> Iterator[Team]:
    """The team of all processes that enter this with one store.

    Args:
        store: Where they find each other.
        rank: This process's number, from 0.
        size: Number of processes.
        device: Where this process computes; tensors of its kind, and on the CPU, can be exchanged.
    """
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Team(rank, size, device)
    except RuntimeError as error:
        if not _is_of_lost_process(error):
            raise
        raise TrainingError(
            f"train: one of the {size} processes that train together has ended, killed or out of memory. The same "
            f"command goes on from the last checkpoint."
        ) from error
    finally:
        distributed.destroy_process_group()


def _is_of_lost_process(error: RuntimeError) -> bool:
    """Whether an exchange failed since the other side is gone; gloo says so by words alone."""
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, DistNetworkError) or any(word in str(error) for word in words)
