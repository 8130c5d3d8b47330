"""Sequences to log-probs: the store first, then the engine for what the store lacks, with a progress bar."""

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.config import EngineConfig
from pipeline.context import Advance, Reporter
from pipeline.engines.adapters import adapter_digest, resolve_adapter
from pipeline.engines.base import Engine, Score, TokenSequence
from pipeline.engines.feeding import Blocks, Catalogue, Shard, catalogue, scoring_order, shards
from pipeline.engines.models import model_digest, tokenizer_digest
from pipeline.engines.places import open_place
from pipeline.engines.registry import engine_identity, open_engine, routes_of
from pipeline.engines.results import Results
from pipeline.engines.store import LogpsStore
from pipeline.engines.vllm.check import check_places
from pipeline.errors import EngineError, InputError, examples

# Its own name: the folder that it is made in may be a user's.
SCRATCH: Final = ".thumbline-scratch"


class Outcome(NamedTuple):
    """What came out of the store and the engine.

    Attributes:
        results: Log-probs of every sequence.
        route: How they were made, all of them.
        switches: Changes of the route on the way, a line each.
        n_stored: Sequences that the store had.
        n_scored: Sequences that the engine scored now.
        n_tokens: Tokens of those, prompts included.
    """

    results: Results
    route: str
    switches: tuple[str, ...]
    n_stored: int
    n_scored: int
    n_tokens: int


@dataclass(frozen=True)
class Work:
    """Sequences to score, and where what is known of them lies.

    Attributes:
        blocks: Table `sequences`.
        wanted: Its catalogue.
        stores: The store of each route that the engine may take, the one it tries first first.
        shard_rows: Sequences a shard.
        token_logps: Whether a value a token is wanted as well.
        scratch: Folder for files, made where it is needed and emptied by the caller.
    """

    blocks: Blocks
    wanted: Catalogue
    stores: Mapping[str, LogpsStore]
    shard_rows: int
    token_logps: bool
    scratch: Path


# Opens a progress bar over that many tokens.
Bar = Callable[[int], Any]


def score_missing(work: Work, open_engine: Callable[[], Engine], bar: Bar) -> Outcome:
    """Log-probs of all sequences by one route; the engine is opened only if no route's store has them all.

    Two routes round differently, so a table is never mixed of two: which rows of the store count is known once the
    engine has settled its route.

    Args:
        work: What to score.
        open_engine: Loads the model.
        bar: Opens the progress bar.

    Raises:
        EngineError: The engine left a sequence out, scored another number of tokens, or gave no number.
    """
    found: dict[str, Results] = {}
    for route in work.stores:
        found[route] = _stored(work, route)
        if found[route].known == len(work.wanted):
            return Outcome(found[route], route, (), len(work.wanted), 0, 0)
    first = next(iter(work.stores))
    engine = open_engine()
    try:
        feed = _feed(work, found[first])
        head = next(feed)
        route = engine.settle([head.sequences[place] for place in check_places(len(head.sequences))])
        results = found.pop(route)
        found.clear()
        rest: Iterable[Shard] = chain([head], feed)
        if route != first:
            feed.close()
            rest = _feed(work, results)
        stored, missing = results.known, results.missing
        tokens = int(work.wanted.token_counts[missing].sum())
        with bar(tokens) as advance:
            _score(rest, engine, results, work.stores[route], advance)
        return Outcome(results, route, tuple(engine.switches), stored, int(missing.sum()), tokens)
    finally:
        engine.close()


def _stored(work: Work, route: str) -> Results:
    results = Results(work.wanted, token_logps=work.token_logps, scratch=work.scratch / f"results-{route}")
    for rows in work.stores[route].shards(token_logps=work.token_logps):
        results.add(rows)
    return results


def stored_results(
    blocks: Blocks, wanted: Catalogue, stores: Mapping[str, LogpsStore], scratch: Path
) -> tuple[str, Results]:
    """The route whose store has most of the wanted sequences, and what it has.

    Args:
        blocks: Table `sequences`.
        wanted: Its catalogue.
        stores: The store of each route.
        scratch: Folder for files.
    """
    work = Work(blocks, wanted, stores, 1, False, scratch)
    found = {route: _stored(work, route) for route in stores}
    route = max(found, key=lambda name: found[name].known)
    return route, found[route]


def _feed(work: Work, results: Results) -> Generator[Shard]:
    order = scoring_order(work.blocks, work.wanted, results.missing)
    return shards(work.blocks, work.wanted, order, work.shard_rows, work.scratch)


def _score(feed: Iterable[Shard], engine: Engine, results: Results, store: LogpsStore, advance: Advance) -> None:
    for shard in feed:
        scores = checked(engine.score(shard.sequences), shard.sequences, token_logps=results.has_tokens)
        results.add(store.write(scores))
        advance(shard.tokens)


def checked(scores: list[Score], sequences: Sequence[TokenSequence], *, token_logps: bool = False) -> list[Score]:
    """The scores themselves, once each is a number over all tokens of its sequence.

    Raises:
        EngineError: One is not.
    """
    short = [
        entry.sequence_id
        for score, entry in zip(scores, sequences, strict=True)
        if (score.sequence_id, score.token_count) != (entry.sequence_id, len(entry.completion_token_ids))
        or (token_logps and len(score.token_logps or ()) != score.token_count)
    ]
    if short:
        raise EngineError(f"{len(short)} of {len(scores)} scores are not of all completion tokens ({examples(short)}).")
    wrong = [score.sequence_id for score in scores if not (math.isfinite(score.logps) and score.logps <= 0.0)]
    if wrong:
        raise EngineError(
            f"{len(wrong)} of {len(scores)} scores are no log-probability: NaN, infinite or above 0 "
            f"({examples(wrong)}). Set reference.dtype to float32; if that changes nothing, the weights are broken."
        )
    return scores


@dataclass(frozen=True)
class Scorer:
    """A model and an engine, with the store that belongs to them.

    Attributes:
        model_dir: Folder of the model.
        config: The engine's settings.
        store: Folder or address of the store.
    """

    model_dir: Path
    config: EngineConfig
    store: str

    def key(self, route: str) -> dict[str, str]:
        """Everything that decides the numbers of one route."""
        return scorer_key(self.model_dir, self.config, route)

    def stores(self) -> dict[str, LogpsStore]:
        """The store of each route, the one that is tried first first."""
        place = open_place(self.store)
        return {route: LogpsStore(place, self.key(route)) for route in routes_of(self.config)}

    def open(self, longest: int) -> Engine:
        """The engine, for sequences of at most `longest` tokens."""
        return open_engine(self.config, self.model_dir, longest)


def scorer_key(model_dir: Path, config: EngineConfig, route: str | None = None) -> dict[str, str]:
    """Digests of weights, tokenizer and adapter, and what the engine is, by one route (None: before it is known)."""
    key = {"model": model_digest(model_dir), "tokenizer": tokenizer_digest(model_dir)}
    if config.adapter is not None:
        key["adapter"] = adapter_digest(resolve_adapter(config.adapter))
    return key | engine_identity(config, route)


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


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for files that do not outlast the block; what a killed run left in it is deleted first."""
    place = folder / SCRATCH
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield place
    except OSError as error:
        if error.errno is not None and str(place) in str(error.filename or ""):
            raise InputError(f"{place}: cannot be written: {error.strerror}. Free some disk.") from error
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
