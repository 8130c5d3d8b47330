"""Sequences to log-probs: the store first, then the engine for what the store lacks, with a progress bar."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl

from ..config import EngineConfig
from ..context import Reporter
from ..errors import InputError
from ..storage.folders import open_folder
from .adapters import adapter_digest, merger, resolve_adapter
from .base import TRANSFORMERS, Engine
from .feeding import Blocks, blocks_of, catalogue
from .missing import Work, score_missing
from .models import has_soft_caps, model_digest, tokenizer_digest
from .registry import engine_identity, open_engine, routes_of
from .results import Results
from .store import LogpsStore

# Its own name: the folder that it is made in may be a user's.
SCRATCH: Final = ".thumbline-scratch"
# Loads a model of a folder for sequences of so many tokens at most.
Opener: TypeAlias = Callable[[EngineConfig, Path, int], Engine]


@dataclass(frozen=True)
class Scorer:
    """A model and an engine, with the store that belongs to them.

    Attributes:
        model_dir: Folder of the model.
        config: The engine's settings.
        store: Folder or address of the store.
        opener: What opens the engine: here, or on a cluster.
    """

    model_dir: Path
    config: EngineConfig
    store: str
    opener: Opener = open_engine

    def key(self, route: str) -> dict[str, str]:
        """Everything that decides the numbers of one route."""
        return scorer_key(self.model_dir, self.config, route)

    def stores(self) -> dict[str, LogpsStore]:
        """The store of each route, the one that is tried first first."""
        folder = open_folder(self.store)
        return {route: LogpsStore(folder, self.key(route)) for route in routes_of(self.config)}

    def open(self, longest: int) -> Engine:
        """The engine, for sequences of at most `longest` tokens."""
        return self.opener(self.config, self.model_dir, longest)


def scorer_key(model_dir: Path, config: EngineConfig, route: str | None = None) -> dict[str, str]:
    """Digests of weights, tokenizer and adapter, and what the engine is, by one route (None: before it is known)."""
    key = {"model": model_digest(model_dir), "tokenizer": tokenizer_digest(model_dir)}
    key |= engine_identity(config, route)
    if key["route"] == TRANSFORMERS and has_soft_caps(model_dir):
        # Transformers would leave the caps out (`engines.head`), and once did here.
        key["attention"] = "eager"
    if config.adapter is not None:
        key["adapter"] = adapter_digest(resolve_adapter(config.adapter))
        if key["route"] == TRANSFORMERS:
            # vLLM applies an adapter; for transformers it is merged into the weights.
            key["merger"] = merger()
    return key


class ScoredTable(NamedTuple):
    """Log-probs and how they came about.

    Attributes:
        results: Gives table `reference`, sorted by sequence id.
        notes: Counts, tokens, seconds, engine, route and keys, for the manifest.
    """

    results: Results
    notes: dict[str, Any]


def score_table(
    blocks: Blocks, scorer: Scorer, shard_rows: int, scratch: Path, reporter: Reporter, description: str
) -> ScoredTable:
    """Log-probs of every sequence.

    Args:
        blocks: Table `sequences`.
        scorer: Model, engine and store.
        shard_rows: Sequences a shard.
        scratch: Folder for files; see `scratch_folder`.
        reporter: Where progress goes.
        description: What the progress bar says.
    """
    started = time.monotonic()
    stores, wanted = scorer.stores(), catalogue(blocks)
    longest = int(wanted.token_counts.max()) if len(wanted) else 1
    work = Work(blocks, wanted, stores, shard_rows, scorer.config.token_logps, scratch)
    done = score_missing(
        work, lambda: scorer.open(longest), lambda tokens: reporter.progress(description, tokens, "tokens")
    )
    store = stores[done.route]
    notes = {
        "engine": store.key["engine"],
        "route": done.route,
        "dtype": scorer.config.dtype,
        "model": store.key["model"],
        "store_key": store.name,
        "stored": done.n_stored,
        "scored": done.n_scored,
        "scored_tokens": done.n_tokens,
        "scoring_seconds": round(time.monotonic() - started, 3),
    }
    return ScoredTable(done.results, notes | ({"switches": list(done.switches)} if done.switches else {}))


class ScoredFrame(NamedTuple):
    """The same where the table fits in memory.

    Attributes:
        frame: Columns of table `reference`, sorted by sequence id.
        notes: As above.
    """

    frame: pl.DataFrame
    notes: dict[str, Any]


def score_frame(
    sequences: pl.DataFrame, scorer: Scorer, shard_rows: int, reporter: Reporter, description: str
) -> ScoredFrame:
    """Log-probs of every sequence of a table in memory; the arguments are those of `score_table`."""
    with TemporaryDirectory() as folder, scratch_folder(Path(folder)) as scratch:
        scored = score_table(blocks_of(sequences), scorer, shard_rows, scratch, reporter, description)
        return ScoredFrame(scored.results.frame(), scored.notes)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for files that do not outlast the block; what a killed run left in it is deleted first."""
    scratch = folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
    except OSError as error:
        if error.errno is not None and str(scratch) in str(error.filename or ""):
            raise InputError(f"{scratch}: cannot be written: {error.strerror}. Free some disk.") from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
