"""What a store holds, whether its numbers still come out, and what of it nothing refers to any more."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..errors import InputError
from ..storage.folders import FileFacts, Folder
from .feeding import Blocks, Ids, as_ids, catalogue, shards
from .missing import checked, stored_results
from .scoring import Scorer
from .shards import BAD, KEY_PART, SHARD, open_shard
from .vllm.check import disagreement

_ID: Final = np.dtype("S16")


class KeyFacts(NamedTuple):
    """What is stored under one key.

    Attributes:
        name: The key's digest.
        parts: What it is made of; empty where no shard can be trusted.
        shards: Trusted shards.
        rows: Sequences, or sampled answers, in them.
        tokens: Completion tokens in them.
        size: Bytes of all files.
        broken: Addresses of files that cannot be trusted, set aside or not.
    """

    name: str
    parts: Mapping[str, str]
    shards: int
    rows: int
    tokens: int
    size: int
    broken: list[str]


def survey(folder: Folder) -> Iterator[KeyFacts]:
    """Facts of every key of a store; each shard is read and its digest checked, nothing is changed."""
    for name in folder.folders():
        parts: dict[str, str] = {}
        count = rows = tokens = size = 0
        broken = []
        for file in folder.files(name):
            path = f"{name}/{file.name}"
            size += file.size
            shard = open_shard(folder.read(path), name) if file.name.endswith(SHARD) else "it was set aside"
            if isinstance(shard, str):
                broken.append(folder.address(path))
                continue
            parts = {part.removeprefix(KEY_PART): value for part, value in shard.metadata.items() if KEY_PART in part}
            count, rows = count + 1, rows + shard.rows.height
            tokens += int(shard.rows[shard.kind.tokens].sum())
        yield KeyFacts(name, parts, count, rows, tokens, size, broken)


@dataclass(frozen=True)
class References:
    """What runs still refer to.

    Attributes:
        by_key: Sorted ids of the sequences, or prompts of sampled answers, that runs took from each key.
        by_any_key: Sorted ids of sequences and prompts whose key is not known yet, of runs that are not finished.
        whole: Keys of which everything is kept.
    """

    by_key: Mapping[str, Ids]
    by_any_key: Ids
    whole: frozenset[str] = frozenset()

    def keeps(self, key_name: str, sequence_ids: pl.Series) -> bool:
        """Whether a run refers to any of these sequences under this key."""
        ids = as_ids(sequence_ids)
        return key_name in self.whole or any(
            _any_in(ids, wanted) for wanted in (self.by_key.get(key_name), self.by_any_key) if wanted is not None
        )


def sorted_ids(blocks: Iterable[pl.Series]) -> Ids:
    """Sequence ids of all blocks, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, _ID), *(as_ids(block) for block in blocks)]))


def _any_in(ids: Ids, wanted: Ids) -> bool:
    if not len(wanted):
        return False
    nearest = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
    return bool(np.any(wanted[nearest] == ids))


class Garbage(NamedTuple):
    """A file that nothing refers to.

    Attributes:
        path: Its name in the store.
        size: Bytes.
        rows: Sequences or answers in it; 0 for a file that cannot be trusted.
    """

    path: str
    size: int
    rows: int


def garbage(folder: Folder, references: References, written_before: float) -> Iterator[Garbage]:
    """Files of a store that hold nothing that a run refers to, and those that a killed process left half written.

    Args:
        folder: The store.
        references: What runs refer to.
        written_before: Seconds since 1970; a file written later may be of a run that has only begun, and is kept, as
            is one whose time is not known.
    """
    for name in folder.folders():
        for file in folder.files(name, unfinished=True):
            if _is_older(file, written_before):
                yield Garbage(f"{name}/{file.name}", file.size, 0)
        for file in folder.files(name):
            if not file.name.endswith((SHARD, BAD)) or not _is_older(file, written_before):
                continue
            path = f"{name}/{file.name}"
            shard = open_shard(folder.read(path), name)
            if isinstance(shard, str):
                yield Garbage(path, file.size, 0)
            elif not references.keeps(name, shard.rows[shard.kind.row_id]):
                yield Garbage(path, file.size, shard.rows.height)


def _is_older(file: FileFacts, written_before: float) -> bool:
    return file.modified is not None and file.modified < written_before


class Verification(NamedTuple):
    """Stored log-probs beside those of a new scoring.

    Attributes:
        compared: Sequences scored again.
        stored: Sequences that the store has of those asked for.
        wanted: Sequences asked for.
        broken: Shards that were found broken and set aside.
        stored_route: How the stored ones were made.
        route: How the new ones were made.
        mean_difference: Mean of |stored - new|, nats a sequence.
        largest_difference: Largest of them.
        fault: What differs by more than rounding, in words; None where nothing does.
    """

    compared: int
    stored: int
    wanted: int
    broken: int
    stored_route: str
    route: str
    mean_difference: float
    largest_difference: float
    fault: str | None


def verify(blocks: Blocks, scorer: Scorer, rows: int, seed: int, scratch: Path) -> Verification:
    """Score a sample of stored sequences again and compare.

    Args:
        blocks: Table `sequences`.
        scorer: Model, engine and store.
        rows: Sequences to compare, at most.
        seed: Draws them.
        scratch: Folder for files.

    Raises:
        InputError: The store has none of the sequences.
        EngineError: The engine fails.
    """
    wanted, stores = catalogue(blocks), scorer.stores()
    before = _shard_count(scorer)
    route, results = stored_results(blocks, wanted, stores, scratch)
    broken = before - _shard_count(scorer)
    known = np.flatnonzero(~results.missing)
    if not len(known):
        raise InputError(f"reference verify: {scorer.store} holds none of the {len(wanted)} sequences for this model.")
    drawn = np.sort(np.random.default_rng(seed).choice(known, min(rows, len(known)), replace=False))
    # One shard: the sample is scored in one call.
    (sample,) = shards(blocks, wanted, drawn, len(drawn), scratch)
    engine = scorer.open(int(wanted.token_counts[drawn].max()))
    try:
        again = checked(engine.score(sample.sequences), sample.sequences)
        new_route = str(engine.route)
    finally:
        engine.close()
    stored = results.scores(drawn)
    gaps = np.abs([one.logps - other.logps for one, other in zip(stored, again, strict=True)])
    fault = disagreement(stored, again, scorer.config.dtype)
    numbers = (len(drawn), results.known, len(wanted), broken)
    return Verification(*numbers, route, new_route, float(gaps.mean()), float(gaps.max()), fault)


def _shard_count(scorer: Scorer) -> int:
    return sum(
        file.name.endswith(SHARD) for store in scorer.stores().values() for file in store.folder.files(store.name)
    )
