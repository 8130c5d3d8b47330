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

from ..storage.buckets import BucketFiles
from .base import TokenSequence

# Gives the table again, in blocks of rows, each time that it is called with the columns to read.
Blocks = Callable[[list[str]], Iterator[pl.DataFrame]]

COUNTS: Final = ["sequence_id", "prompt_token_count", "completion_token_count"]
_TOKENS: Final = ["sequence_id", "prompt_token_ids", "completion_token_ids"]
_FRAME_ROWS: Final = 50_000
# Tokens in memory at a time: 16 MiB of ids, and a few times that while they are put in order.
_BUCKET_TOKENS: Final = 4 * 1024 * 1024
# Files open at a time while blocks are sorted into buckets.
_MOST_BUCKETS: Final = 256
_ID = np.dtype("S16")
_PLACE: Final = "place"

Ids = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]


def blocks_of(frame: pl.DataFrame) -> Blocks:
    """A table in memory as blocks."""
    return lambda columns: frame.select(columns).iter_slices(_FRAME_ROWS)


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
    prompt_counts: Places
    completion_counts: Places

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.ids)

    @property
    def token_counts(self) -> Places:
        """(sequences,) tokens of prompt and completion."""
        return self.prompt_counts + self.completion_counts

    def places(self, sequence_ids: pl.Series) -> Places:
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


def scoring_order(blocks: Blocks, wanted: Catalogue, missing: npt.NDArray[np.bool_]) -> Places:
    """Places of the missing sequences as they are scored: long prompts first, a prompt's completions together.

    The order is a function of the rows alone and shards are written whole, so a run that was killed repeats exactly
    the calls that it had not finished, with the same numbers.

    Args:
        blocks: The table.
        wanted: Its catalogue.
        missing: (sequences,) which of them to score.
    """
    prompts = np.zeros(len(wanted), dtype=np.uint64)
    for block in blocks(["sequence_id", "prompt_token_ids"]):
        places = wanted.places(block["sequence_id"])
        prompts[places] = _prompt_digests(block["prompt_token_ids"])
    places = np.flatnonzero(missing)
    keys = (-wanted.completion_counts[places], prompts[places], -wanted.prompt_counts[places])
    # Stable, so that what is equal stays in the order of ids.
    return np.asarray(places[np.lexsort(keys)])


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
        places: Where its sequences stand in the catalogue.
        sequences: They themselves, in the same order.
        tokens: Tokens of all of them.
    """

    places: Places
    sequences: list[TokenSequence]
    tokens: int


def shards(blocks: Blocks, wanted: Catalogue, order: Places, shard_rows: int, scratch: Path) -> Generator[Shard]:
    """The sequences of `order`, in that order, `shard_rows` at a time.

    Args:
        blocks: The table.
        wanted: Its catalogue.
        order: Places to score.
        shard_rows: Sequences a shard.
        scratch: An empty folder for files, used where the tokens do not fit a block of memory.
    """
    rank = np.full(len(wanted) + 1, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    buckets = _buckets(wanted.token_counts[order], shard_rows)
    with Spill(scratch / "feed", int(buckets[-1]) + 1 if len(buckets) else 1) as spill:
        for block in blocks(_TOKENS):
            # The last entry of `rank` is what place -1 means: not wanted.
            ranks = rank[wanted.places(block["sequence_id"])]
            spill.add(block.with_columns(pl.Series(_PLACE, ranks)).filter(pl.col(_PLACE) >= 0), buckets)
        for frame in spill.sorted():
            for part in frame.iter_slices(shard_rows):
                places = order[part[_PLACE].to_numpy()]
                rows = part.select(_TOKENS).iter_rows()
                sequences = [TokenSequence(name, tuple(prompt), tuple(end)) for name, prompt, end in rows]
                yield Shard(places, sequences, int(wanted.token_counts[places].sum()))


def _buckets(token_counts: Places, shard_rows: int) -> Places:
    """(sequences in order,) the bucket of each: whole shards, of about equal tokens."""
    if not len(token_counts):
        return token_counts
    size = max(_BUCKET_TOKENS, int(token_counts.sum()) // (_MOST_BUCKETS - 1) + 1)
    before = np.concatenate([[0], token_counts.cumsum()[:-1]])
    first = np.arange(len(token_counts)) // shard_rows * shard_rows
    return np.unique(before[first] // size, return_inverse=True)[1].astype(np.int64)


class Spill:
    """Rows sorted into buckets: in memory where there is one bucket, else in a file a bucket.

    Rows carry their final rank in the column `place`; a rank that repeats is the same row.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Take a folder that does not exist yet and the number of buckets."""
        self._files = BucketFiles(folder)
        self._count = count
        self._kept: list[pl.DataFrame] = []

    def __enter__(self) -> "Spill":
        """Nothing is opened before the first row."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close and delete every file."""
        self._files.__exit__()

    def add(self, rows: pl.DataFrame, buckets: Places) -> None:
        """Sort rows into their buckets.

        Args:
            rows: They have a column `place`.
            buckets: The bucket of each place.
        """
        if self._count == 1:
            self._kept.append(rows)
        else:
            self._files.append_each(rows, pl.Series(buckets[rows[_PLACE].to_numpy()]))

    def sorted(self) -> Iterator[pl.DataFrame]:
        """The rows of one bucket after the other, each sorted by place."""
        if self._count > 1:
            yield from map(_in_order, self._files.frames())
        elif self._kept:
            yield _in_order(pl.concat(self._kept))


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(_PLACE).unique(_PLACE, keep="first", maintain_order=True)
