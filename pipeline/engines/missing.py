"""What the store lacks of a table, scored by one route and stored shard by shard."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ..context import Advance
from ..errors import EngineError, examples
from .base import Engine, EngineOfMany, Score, TokenSequence
from .feeding import BUCKET_TOKENS, Blocks, Catalogue, Shard, scoring_order, shards
from .results import Results
from .store import LogpsStore
from .vllm.check import check_indices


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
        bucket_tokens: About how many tokens are held in memory.
    """

    blocks: Blocks
    wanted: Catalogue
    stores: Mapping[str, LogpsStore]
    shard_rows: int
    token_logps: bool
    scratch: Path
    bucket_tokens: int = BUCKET_TOKENS


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
    by_route: dict[str, Results] = {}
    for route in work.stores:
        by_route[route] = _stored(work, route)
        if by_route[route].known == len(work.wanted):
            return Outcome(by_route[route], route, (), len(work.wanted), 0, 0)
    first = next(iter(work.stores))
    engine = open_engine()
    try:
        feed = _feed(work, by_route[first])
        head = next(feed)
        route = engine.settle([head.sequences[index] for index in check_indices(len(head.sequences))])
        results = by_route.pop(route)
        by_route.clear()
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
    results = Results(
        work.wanted,
        token_logps=work.token_logps,
        scratch=work.scratch / f"results-{route}",
        bucket_tokens=work.bucket_tokens,
    )
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
    by_route = {route: _stored(work, route) for route in stores}
    route = max(by_route, key=lambda name: by_route[name].known)
    return route, by_route[route]


def _feed(work: Work, results: Results) -> Generator[Shard]:
    order = scoring_order(work.blocks, work.wanted, results.missing)
    return shards(work.blocks, work.wanted, order, work.shard_rows, work.scratch, bucket_tokens=work.bucket_tokens)


def _score(feed: Iterable[Shard], engine: Engine, results: Results, store: LogpsStore, advance: Advance) -> None:
    for shard, scores in _scored(feed, engine):
        results.add(store.write(checked(scores, shard.sequences, token_logps=results.has_tokens)))
        advance(shard.tokens)


def _scored(feed: Iterable[Shard], engine: Engine) -> Iterator[tuple[Shard, list[Score]]]:
    """Each shard with its scores; in any order, where an engine scores several at a time."""
    if not isinstance(engine, EngineOfMany):
        for shard in feed:
            yield shard, engine.score(shard.sequences)
        return
    taken: dict[int, Shard] = {}

    def sequences() -> Iterator[Sequence[TokenSequence]]:
        for number, shard in enumerate(feed):
            taken[number] = shard
            yield shard.sequences

    for number, scores in engine.score_all(sequences()):
        yield taken.pop(number), scores


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
