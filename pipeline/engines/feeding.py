"""In which order sequences are scored, and how tables larger than memory are brought into it.

A table of sequences is sorted by id; scoring wants the completions of one prompt side by side (they share its
computation) and long prompts first (a lack of memory shows at once, and the last steps are short). Only ids and
four numbers a sequence are held in memory; token ids pass through in blocks, by way of files where there are many.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from ..storage.bucket_sort import BucketSort
from .base import TokenSequence

# Gives the table again, in blocks of rows, each time that it is called with the columns to read.
Blocks = Callable[[list[str]], Iterator[pl.DataFrame]]

COUNTS: Final = ["sequence_id", "prompt_token_count", "completion_token_count"]
_TOKENS: Final = ["sequence_id", "prompt_token_ids", "completion_token_ids"]
BLOCK_ROWS: Final = 50_000
# Tokens in memory at a time: 16 MiB of ids, and a few times that while they are put in order.
BUCKET_TOKENS: Final = 4 * 1024 * 1024
# More would be read in ever smaller pieces.
_MOST_BUCKETS: Final = 256
# Rows of so many bytes a token of a bucket stay in memory.
_HELD_BYTES_PER_TOKEN: Final = 8
_ID = np.dtype("S16")
_INDEX: Final = "index"

Ids = npt.NDArray[np.bytes_]
Indices = npt.NDArray[np.int64]


def blocks_of(frame: pl.DataFrame, block_rows: int = BLOCK_ROWS) -> Blocks:
    """A table in memory as blocks."""
    return lambda columns: frame.select(columns).iter_slices(block_rows)


def as_ids(sequence_ids: pl.Series) -> Ids:
    """Sequence ids as 16 bytes each, which sort as their digits do."""
    return np.frombuffer(bytes.fromhex("".join(sequence_ids)), dtype=_ID)


def as_text(ids: Ids) -> pl.Series:
    """Ids of 16 bytes as their 32 hexadecimal digits."""
    digits = ids.tobytes().hex()
    return pl.Series(
        "sequence_id", [digits[start : start + 32] for start in range(0, len(digits), 32)], dtype=pl.String
    )


@dataclass(frozen=True)
class Catalogue:
    """What is wanted, sorted by id, each sequence once.

    Attributes:
        ids: (sequences,) 16 bytes each.
        prompt_counts: (sequences,) int64 tokens.
        completion_counts: (sequences,) int64 tokens.
    """

    ids: Ids
    prompt_counts: Indices
    completion_counts: Indices

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.ids)

    @property
    def token_counts(self) -> Indices:
        """(sequences,) tokens of prompt and completion."""
        return self.prompt_counts + self.completion_counts

    def indices(self, sequence_ids: pl.Series) -> Indices:
        """Where each id stands in the catalogue; -1 where it does not."""
        ids = as_ids(sequence_ids)
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        found = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[found] == ids, found, -1)


def catalogue(blocks: Blocks) -> Catalogue:
    """The catalogue of a table `sequences`; a sequence that repeats counts once."""
    parts = [
        (as_ids(block["sequence_id"]), *(block[name].to_numpy().astype(np.int64) for name in COUNTS[1:]))
        for block in blocks(COUNTS)
    ]
    if not parts:
        return Catalogue(np.empty(0, _ID), np.empty(0, np.int64), np.empty(0, np.int64))
    ids, prompts, completions = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not np.all(ids[1:] > ids[:-1]):
        ids, first = np.unique(ids, return_index=True)
        prompts, completions = prompts[first], completions[first]
    return Catalogue(ids, prompts, completions)


def scoring_order(blocks: Blocks, wanted: Catalogue, missing: npt.NDArray[np.bool_]) -> Indices:
    """Indices of the missing sequences as they are scored: long prompts first, a prompt's completions together.

    The order is a function of the rows alone and shards are written whole, so a run that was killed repeats exactly
    the calls that it had not finished, with the same numbers.

    Args:
        blocks: The table.
        wanted: Its catalogue.
        missing: (sequences,) which of them to score.
    """
    prompts = np.zeros(len(wanted), dtype=np.uint64)
    for block in blocks(["sequence_id", "prompt_token_ids"]):
        indices = wanted.indices(block["sequence_id"])
        prompts[indices] = _prompt_digests(block["prompt_token_ids"])
    indices = np.flatnonzero(missing)
    keys = (-wanted.completion_counts[indices], prompts[indices], -wanted.prompt_counts[indices])
    # Stable, so that what is equal stays in the order of ids.
    return np.asarray(indices[np.lexsort(keys)])


def _prompt_digests(prompts: pl.Series) -> npt.NDArray[np.uint64]:
    """(rows,) a number that is equal for equal prompts."""
    flat = prompts.explode().drop_nulls().to_numpy().astype("<i4").tobytes()
    ends = prompts.list.len().to_numpy().astype(np.int64).cumsum() * 4
    starts = ends - prompts.list.len().to_numpy().astype(np.int64) * 4
    digests = b"".join(
        hashlib.blake2b(flat[start:end], digest_size=8).digest()
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )
    return np.frombuffer(digests, dtype="<u8")


class Shard(NamedTuple):
    """What is scored in one call and stored in one file.

    Attributes:
        indices: Where its sequences stand in the catalogue.
        sequences: They themselves, in the same order.
        tokens: Tokens of all of them.
    """

    indices: Indices
    sequences: list[TokenSequence]
    tokens: int


def shards(
    blocks: Blocks,
    wanted: Catalogue,
    order: Indices,
    shard_rows: int,
    scratch: Path,
    *,
    bucket_tokens: int = BUCKET_TOKENS,
) -> Generator[Shard]:
    """The sequences of `order`, in that order, `shard_rows` at a time.

    Args:
        blocks: The table.
        wanted: Its catalogue.
        order: Indices to score.
        shard_rows: Sequences a shard.
        scratch: An empty folder for files, used where the tokens do not fit a block of memory.
        bucket_tokens: About how many tokens are held in memory.
    """
    rank = np.full(len(wanted) + 1, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    buckets = _shard_buckets(wanted.token_counts[order], shard_rows, bucket_tokens)
    with sorted_by_index(scratch / "feed", buckets, bucket_tokens) as rows:
        for block in blocks(_TOKENS):
            # The last entry of `rank` is what index -1 means: not wanted.
            ranks = rank[wanted.indices(block["sequence_id"])]
            rows.add(block.with_columns(pl.Series(_INDEX, ranks)).filter(pl.col(_INDEX) >= 0))
        for frame in rows.batches():
            for part in frame.iter_slices(shard_rows):
                indices = order[part[_INDEX].to_numpy()]
                tokens = part.select(_TOKENS).iter_rows()
                sequences = [TokenSequence(name, tuple(prompt), tuple(end)) for name, prompt, end in tokens]
                yield Shard(indices, sequences, int(wanted.token_counts[indices].sum()))


def _shard_buckets(token_counts: Indices, shard_rows: int, bucket_tokens: int) -> Indices:
    """(sequences in order,) the bucket of each: whole shards, of about equal tokens."""
    first = np.arange(len(token_counts)) // shard_rows * shard_rows
    buckets: Indices = token_buckets(token_counts, bucket_tokens)[first]
    return buckets


def token_buckets(token_counts: Indices, bucket_tokens: int) -> Indices:
    """(sequences,) the bucket of each: neighbours, of about equal tokens."""
    size = max(bucket_tokens, int(token_counts.sum()) // (_MOST_BUCKETS - 1) + 1)
    return (token_counts.cumsum() - token_counts) // size


def sorted_by_index(path: Path, buckets: Indices, bucket_tokens: int) -> BucketSort:
    """Rows to be put in the order of their column `index`; an index that repeats is the same row.

    Args:
        path: Where a file may lie, if there are many rows.
        buckets: The bucket of each index.
        bucket_tokens: About how many tokens a bucket has: as many are held in memory.
    """
    held_bytes = bucket_tokens * _HELD_BYTES_PER_TOKEN
    return BucketSort(path, [_INDEX], lambda indices: pl.Series(buckets[indices.to_numpy()]), held_bytes=held_bytes)
