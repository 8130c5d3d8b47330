"""A scoring engine in a process of a cluster: what an actor does, and how it finds the model on its machine."""

import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

from ..config import EngineConfig
from ..config.caches import cache_dir
from ..engines.base import Engine, Score, TokenSequence
from ..engines.models import model_digest, resolve_model
from ..engines.registry import open_engine
from ..errors import InputError
from ..storage.attached import Source, source_of
from ..storage.fetching import fetch
from ..storage.objects import open_objects
from ..workers import available_cores

# How the hub's cache calls a model's folder: models--OWNER--NAME/snapshots/COMMIT.
_CACHED: Final = "models--"
_SNAPSHOTS: Final = "snapshots"


class Model(NamedTuple):
    """A model as any machine finds it.

    Attributes:
        folder: Where it lies on the machine that asks.
        hub_id: Its name on the hub; None where it is a folder of one's own.
        revision: The commit of it.
        digest: Of its weights and config.
        source: Where it lies at the address of the run that trained it; None where that run lies in a folder.
    """

    folder: Path
    hub_id: str | None
    revision: str | None
    digest: str
    source: Source | None = None

    @classmethod
    def of(cls, folder: Path) -> "Model":
        """The model in a folder: one that lies in the hub's cache can be had from the hub elsewhere."""
        place = folder.absolute()
        digest = model_digest(place)
        cached = place.parent.parent.name
        if place.parent.name != _SNAPSHOTS or not cached.startswith(_CACHED):
            return cls(place, None, None, digest, source_of(place))
        return cls(place, cached.removeprefix(_CACHED).replace("--", "/"), place.name, digest)

    def here(self) -> Path:
        """Its folder on this machine, the very same weights in it.

        Raises:
            InputError: It is not here, not on the hub and not at a run's address, or what is here are other weights.
        """
        folder = self.folder
        if not folder.is_dir():
            folder = self._brought()
        if model_digest(folder) != self.digest:
            raise InputError(
                f"model: {folder} on {socket.gethostname()} holds other weights than on the machine that asks for "
                "them. Copy the same files there."
            )
        return folder

    def _brought(self) -> Path:
        """The model fetched to this machine's cache."""
        if self.hub_id is not None:
            return resolve_model(self.hub_id, self.revision)
        if self.source is None:
            raise InputError(
                f"model: {self.folder}: no such folder on {socket.gethostname()}. Put the model, or the run that "
                "trained it, on a disk that all machines of the cluster have at the same path, or name a hub model."
            )
        folder = cache_dir() / "models" / self.digest
        objects = open_objects(self.source.address, "runs")
        for name, digest in self.source.files.items():
            if not (folder / name).is_file():
                fetch(objects, f"{self.source.folder}/{name}", folder / name, digest, self.source.stage)
        return folder


class Settled(NamedTuple):
    """How an engine scores.

    Attributes:
        route: A name of `reference.routes`.
        switches: Why it is not the first of them, a line each.
    """

    route: str
    switches: tuple[str, ...]


class Member:
    """One engine, held open for as long as its process lives."""

    def __init__(self, config: EngineConfig, model: Model, max_tokens: int, cpus: float) -> None:
        """Remember what to load.

        Args:
            config: The engine's settings.
            model: What it scores with.
            max_tokens: Tokens of the longest sequence.
            cpus: How many CPUs it may use.
        """
        self._config, self._model, self._max_tokens, self._cpus = config, model, max_tokens, cpus
        self._engine: Engine | None = None

    def settle(self, sample: list[TokenSequence]) -> Settled:
        """Load the model and find the way in which it scores.

        Raises:
            EngineError: None scores the sample.
            InputError: The model is not on this machine.
        """
        if self._cpus < available_cores():
            # vLLM binds threads to the first cores, and several engines of a machine would share those.
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ["OMP_NUM_THREADS"] = str(max(1, int(self._cpus)))
        self._engine = open_engine(self._config, self._model.here(), self._max_tokens)
        return Settled(self._engine.settle(sample), tuple(self._engine.switches))

    def score(self, sequences: list[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: The engine failed.
        """
        assert self._engine is not None
        return self._engine.score(sequences)

    def close(self) -> None:
        """Free the model's memory."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
