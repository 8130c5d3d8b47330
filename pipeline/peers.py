"""Processes that a launcher such as torchrun started as one command: the first runs it and calls on the others.

Whatever they say to each other goes through the launcher's store; who waits for a call sleeps, for days if need be.
"""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from .errors import InputError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_NAMES: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PREFIXES: Final = ("GROUP_", "ROLE_", "TORCHELASTIC_", "ACCELERATE_", "FSDP_")
_END: Final = "end"
_TO_MEET: Final = timedelta(minutes=10)
_TO_WAIT: Final = timedelta(days=365)
# How long the first process, where it ends at once for the same reason, may take to say so.
_TO_SPEAK: Final = timedelta(seconds=10)


@dataclass
class Peers:
    """The processes of one command, seen from one of them.

    Attributes:
        rank: This process's number, from 0.
        size: Number of processes, at least 2.
        local_rank: Its number among those of this machine.
        address: Host of the store.
        port: Likewise.
        hosted: Whether the launcher keeps the store; else the first process does.
        attempt: How often the launcher has started the command anew.
    """

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    hosted: bool = True
    attempt: str = "0"
    _said: int = field(default=0, repr=False)
    _groups: int = field(default=0, repr=False)
    _store: "Store | None" = field(default=None, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that runs the command."""
        return self.rank == 0

    def store(self) -> "Store":
        """What all processes of this attempt read and write.

        Raises:
            InputError: It is not to be reached.
        """
        if self._store is None:
            # Imported here: the command should not wait for torch where it calls nobody.
            from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

            keeps = self.is_first and not self.hosted
            try:
                found = TCPStore(self.address, self.port, None, keeps, _TO_MEET, wait_for_workers=False)
            except DistError as error:
                raise InputError(
                    f"MASTER_ADDR and MASTER_PORT name {self.address}:{self.port}, where no process of this command "
                    f"answers: {error}. Start it by torchrun or accelerate launch."
                ) from error
            self._store = PrefixStore(f"thumbline/{self.attempt}", found)
        return self._store

    def group_store(self) -> "Store":
        """A store for one group of all processes; each asks for as many as any other."""
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]

        self._groups += 1
        return PrefixStore(f"group/{self._groups}", self.store())

    def call(self, word: str) -> None:
        """Say a word to all other processes."""
        self.store().set(f"word/{self._said}", word)
        self._said += 1

    def words(self) -> Iterator[str]:
        """What the first process says, as it says it, until it ends.

        Raises:
            RuntimeError: The store is gone: the command was killed.
        """
        while True:
            word = self._next(_TO_WAIT)
            if word == _END:
                return
            yield word

    def has_ended(self) -> bool:
        """Whether the first process ends as well, within a few seconds: it says itself why, then."""
        from torch.distributed import DistNetworkError

        try:
            while self._next(_TO_SPEAK) != _END:
                pass
        except DistNetworkError:
            # It took the store along.
            return True
        except RuntimeError:
            return False
        return True

    def _next(self, patience: timedelta) -> str:
        key = f"word/{self._said}"
        self.store().wait([key], patience)
        self._said += 1
        return str(self.store().get(key).decode())


@cache
def peers() -> Peers | None:
    """The processes that this one was started with; None where it is alone.

    The launcher's variables are taken out of the environment: what this process uses and starts, vLLM's engine among
    it, would take itself for a part of the group and wait for the others.

    Raises:
        InputError: The variables do not hold together.
    """
    return taken(os.environ)


def taken(environment: MutableMapping[str, str]) -> Peers | None:
    """What a launcher wrote into an environment, taken out of it; None where it started one process or there is none.

    Args:
        environment: Changed in place.

    Raises:
        InputError: The variables do not hold together.
    """
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return None
    names = [name for name in environment if name in _NAMES or name.startswith(_PREFIXES)]
    found = {name: environment.pop(name) for name in names}
    try:
        rank, size = int(found["RANK"]), int(found["WORLD_SIZE"])
        if size == 1:
            return None
        return Peers(
            rank,
            size,
            int(found.get("LOCAL_RANK", rank)),
            found["MASTER_ADDR"],
            int(found["MASTER_PORT"]),
            hosted=found.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=found.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )
    except (KeyError, ValueError) as error:
        raise InputError(
            f"RANK and WORLD_SIZE say that this is one of several processes, and of {', '.join(_NAMES)} one is missing "
            f"or no number ({error}). Start the command by torchrun or accelerate launch, or unset RANK and WORLD_SIZE."
        ) from error


@contextmanager
def leading(found: Peers | None) -> Iterator[None]:
    """The first process's work, at whose end, whatever ends it, the others are told to leave."""
    try:
        yield
    finally:
        if found is not None:
            # Those that are gone, with the store or without, need not be told.
            with suppress(RuntimeError, InputError):
                found.call(_END)
