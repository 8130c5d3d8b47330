"""Sequences to log-probs for a stage: the store first, then the engine, with a progress bar."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from pipeline.config import EngineConfig
from pipeline.context import Reporter
from pipeline.engines.models import model_digest, tokenizer_digest
from pipeline.engines.registry import choose_engine, engine_identity, open_engine
from pipeline.engines.store import LogpsStore, score_missing


class ScoredTable(NamedTuple):
    """Log-probs and how they came about.

    Attributes:
        frame: Columns of table `reference`, sorted by sequence id.
        notes: Counts, tokens, seconds and engine, for the manifest.
    """

    frame: pl.DataFrame
    notes: dict[str, Any]


def score_table(
    sequences: pl.DataFrame,
    model_dir: Path,
    config: EngineConfig,
    store_dir: Path,
    shard_rows: int,
    reporter: Reporter,
    description: str,
) -> ScoredTable:
    """Log-probs of every sequence under the model in `model_dir`.

    Args:
        sequences: Table `sequences`.
        model_dir: Folder of the model.
        config: The engine's settings.
        store_dir: Where log-probs are kept.
        shard_rows: Sequences a shard.
        reporter: Where progress goes.
        description: What the progress bar says.
    """
    identity = engine_identity(config)
    key = {"model": model_digest(model_dir), "tokenizer": tokenizer_digest(model_dir), **identity}
    store = LogpsStore(store_dir, key)
    lengths = sequences["prompt_token_count"] + sequences["completion_token_count"]
    longest = int(lengths.to_numpy().max()) if sequences.height else 1
    started = time.monotonic()
    with reporter.progress(f"{description} ({choose_engine(config)})", sequences.height, "sequences") as advance:
        found = score_missing(sequences, store, lambda: open_engine(config, model_dir, longest), shard_rows, advance)
    notes = {
        "engine": identity["engine"],
        "dtype": config.dtype,
        "model": key["model"],
        "stored": found.n_stored,
        "scored": found.n_scored,
        "scored_tokens": found.n_tokens,
        "scoring_seconds": round(time.monotonic() - started, 3),
    }
    return ScoredTable(found.frame, notes)
