"""Rows that `sorting` wrote by buckets, cut into what is read together: shares for tasks, prompts that are large."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..evidence.comparisons import SIDES
from ..storage.buckets import (
    BucketFile,
    KeyRange,
    bucket_count,
    buckets_of_ids,
    chosen_rows,
    joined_files,
    read_batches,
)
from .columns import STORED_EVENTS
from .sorting import TaskFiles

# A prompt that would take more than such a share of a pass comes in parts of that size; of larger buckets alone: all
# rows of one are held several times over while they are read.
_PARTS_OF_A_PASS: Final = 8
_WHOLE_PARTS: Final = 2
# Ids are of hexadecimal digits, and this is after all that begin with one.
_AFTER_DIGITS: Final = "g"
_LOOKED_AT: Final = pl.Schema({name: STORED_EVENTS[name] for name in ("prompt_id", "vote")})


class Stored(NamedTuple):
    """Rows of some prompts on disk.

    Attributes:
        events: Events without texts, by bucket.
        texts: Texts of their answers, by the same buckets.
    """

    events: BucketFile
    texts: BucketFile

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self)


class Segment(NamedTuple):
    """Prompts that follow each other and are read alike.

    Attributes:
        files: Their rows, and perhaps others'.
        within: The joined keys of their rows; None: all rows are theirs.
        prompt: The only one, whose answers come in several parts; None: all prompts are whole.
    """

    files: Stored
    within: KeyRange | None
    prompt: str | None

    @property
    def column(self) -> str:
        """What no part crosses."""
        return "prompt_id" if self.prompt is None else "response_id"


def stored(written: Sequence[TaskFiles]) -> Stored:
    """All that the tasks wrote."""
    return Stored(*(joined_files(getattr(entry, name) for entry in written) for name in Stored._fields))


def shares(whole: Stored, most_bytes: int) -> list[Stored]:
    """Rows cut into shares of consecutive buckets, in their order; none where there are no rows.

    Args:
        whole: What `stored` gave.
        most_bytes: A share has no more bytes than that, unless one bucket has.
    """
    found: list[list[Stored]] = []
    room = 0
    for bucket in _buckets(whole):
        if bucket.size > room or not found:
            found.append([])
            room = most_bytes
        room -= bucket.size
        found[-1].append(bucket)
    return [_together(share) for share in found]


def _buckets(whole: Stored) -> list[Stored]:
    """The rows of each bucket, in their order."""
    numbers = np.union1d(whole.events.buckets(), whole.texts.buckets())
    return [Stored(*(file.of_bucket(number) for file in whole)) for number in numbers.tolist()]


def _together(buckets: Sequence[Stored]) -> Stored:
    return Stored(*(joined_files(getattr(bucket, name) for bucket in buckets) for name in Stored._fields))


def segments(whole: Stored, pass_bytes: int) -> Iterator[Segment]:
    """All rows, in their order: prompts that hold much of what is read in a pass, each alone, and those between them.

    Args:
        whole: What `stored` or `shares` gave.
        pass_bytes: How much is read at a time.
    """
    between: list[Stored] = []
    for bucket in _buckets(whole):
        is_large = bucket.size * _PARTS_OF_A_PASS > pass_bytes * _WHOLE_PARTS
        large = _large_prompts(bucket, pass_bytes) if is_large else []
        if not large:
            between.append(bucket)
            continue
        if between:
            yield Segment(_together(between), None, None)
            between = []
        yield from _around(bucket, large)
    if between:
        yield Segment(_together(between), None, None)


def _around(bucket: Stored, large: Sequence[str]) -> Iterator[Segment]:
    """The prompts of a bucket: each of the large ones, and those before, between and after them."""
    after = ""
    for prompt in large:
        # Keys of rows are longer than their prompts' ids, which they begin with.
        yield Segment(bucket, KeyRange(after, prompt), None)
        after = prompt + _AFTER_DIGITS
        yield Segment(bucket, None, prompt)
    yield Segment(bucket, KeyRange(after, _AFTER_DIGITS), None)


@contextmanager
def laid_out(segment: Segment, folder: Path, pass_bytes: int) -> Iterator[Segment]:
    """A segment as it is read: the rows of a prompt that comes in parts are put in buckets of its answers.

    Args:
        segment: What is to be read.
        folder: Where these buckets lie until the block ends.
        pass_bytes: What `segments` was given.
    """
    if segment.prompt is None:
        yield segment
        return
    # The other prompts' rows count as well: parts are smaller by that.
    count = bucket_count(segment.files.size, max(1, pass_bytes // _PARTS_OF_A_PASS))
    with TemporaryDirectory(prefix=".prompt-", dir=folder) as place:
        files = [
            chosen_rows(
                file,
                Path(place) / name,
                pl.col("prompt_id") == pl.lit(segment.prompt),
                lambda rows: buckets_of_ids(rows["response_id"], count),
            )
            for name, file in zip(Stored._fields, segment.files, strict=True)
        ]
        yield segment._replace(files=Stored(*files))


def _large_prompts(bucket: Stored, pass_bytes: int) -> list[str]:
    """Prompts of a bucket, in their order, whose answers are to come in parts.

    Answers that are compared with each other come at once.
    """
    compared = pl.col("vote").is_in(SIDES).any().alias("compared")
    counts = [
        rows.group_by("prompt_id").agg(pl.len().alias("rows"), compared)
        for rows in read_batches(bucket.events, _LOOKED_AT)
    ]
    prompts = pl.concat(counts).group_by("prompt_id").agg(pl.col("rows").sum(), pl.col("compared").any())
    most_rows = prompts["rows"].sum() * pass_bytes / _PARTS_OF_A_PASS / bucket.size
    large = prompts.filter((pl.col("rows") > most_rows) & ~pl.col("compared"))
    return large["prompt_id"].sort().to_list()
