"""KTO's mismatched rows: a prompt with the completion of another prompt, for the reference point z0.

They are made after the split and inside it, from a seed: never with the row's own prompt, never equal to the row's own
completion. Who is given whose completion is decided on a few numbers a row; the texts themselves go to the rows that
take them by way of files, where there are many.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from ..engines.feeding import Ids, Indices, as_ids
from ..identity import digest, with_extra
from ..storage.bucket_sort import BucketSort
from ..tables import SPLIT

# The columns of an answer: its text, and what goes along with it.
ANSWER: Final = ("completion", "completion_extra")
# Digits of a text's digest that fit a signed number of 64 bits.
_TEXT_DIGITS: Final = 15
_MOST_BUCKETS: Final = 256


class PartnerRows(NamedTuple):
    """What the choice of partners needs of some rows: no text.

    Attributes:
        response_ids: (rows,) 16 bytes each.
        prompt_ids: (rows,) 16 bytes each.
        texts: (rows,) int64, equal for equal completions.
        splits: (rows,) uint8, the index of the row's split in `SPLIT`.
    """

    response_ids: Ids
    prompt_ids: Ids
    texts: Indices
    splits: npt.NDArray[np.uint8]


def partner_rows(rows: pl.DataFrame) -> PartnerRows:
    """What is needed of rows with the columns response_id, prompt_id, `ANSWER` (texts) and split."""
    answer = with_extra(*map(pl.col, ANSWER))
    texts = rows.select(digest(answer).str.head(_TEXT_DIGITS).str.to_integer(base=16)).to_series()
    return PartnerRows(
        as_ids(rows["response_id"]),
        as_ids(rows["prompt_id"]),
        texts.to_numpy(),
        rows["split"].to_physical().to_numpy().astype(np.uint8),
    )


def partners(parts: Sequence[PartnerRows], seed: int) -> Indices:
    """(rows,) the number of the row whose completion each row is given; rows are numbered as they come.

    -1 for a row without a partner: where all other rows of its split share its prompt or its text. The test split's
    rows have partners too: KTO's loss on them takes the policy's own distance from the reference.

    Args:
        parts: All rows, in any parts.
        seed: Draws the partners. The draw depends on the rows alone, not on their order.
    """
    rows = PartnerRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    found = np.full(len(rows.texts), -1, dtype=np.int64)
    for index in range(len(SPLIT.categories)):
        own = np.flatnonzero(rows.splits == index)
        own = own[np.argsort(rows.response_ids[own])]
        own = own[np.random.default_rng([seed, index]).permutation(len(own))]
        partner = _next_that_fits(np.unique(rows.prompt_ids[own], return_inverse=True)[1], rows.texts[own])
        found[own[partner >= 0]] = own[partner[partner >= 0]]
    return found


def _next_that_fits(prompts: Indices, texts: Indices) -> Indices:
    """(rows,) for each row the next one, round about, of another prompt and another text; -1 where there is none."""
    partner = np.full(len(prompts), -1, dtype=np.int64)
    for shift in range(1, len(prompts)):
        open_rows = np.flatnonzero(partner < 0)
        if open_rows.size == 0:
            break
        candidate = (open_rows + shift) % len(prompts)
        fits = (prompts[candidate] != prompts[open_rows]) & (texts[candidate] != texts[open_rows])
        partner[open_rows[fits]] = candidate[fits]
    return partner


class Exchange:
    """Completions on their way from the rows that have them to the rows that are given them.

    All rows are passed by twice in the order in which they were numbered: first each gives, then each takes.
    """

    def __init__(self, partner: Indices, path: Path, *, bucket_rows: int, held_bytes: int) -> None:
        """Begin.

        Args:
            partner: What `partners` gives.
            path: Where a file may lie; it does not exist yet.
            bucket_rows: How many completions are read into memory at a time, if they do not all fit.
            held_bytes: How much is held before it is written to the file.
        """
        takers = np.flatnonzero(partner >= 0)
        order = np.argsort(partner[takers], kind="stable")
        self._takers, self._givers = takers[order], partner[takers][order]
        count = min(_MOST_BUCKETS, len(partner) // bucket_rows + 1)
        self._rows = BucketSort(path, ["index"], lambda indices: indices * count // len(partner), held_bytes=held_bytes)
        self._given = self._taken = 0
        self._coming = self._rows.batches()
        self._held = pl.DataFrame(schema={"index": pl.Int64, **dict.fromkeys(ANSWER, pl.String)})

    def __enter__(self) -> Self:
        """The exchange itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self._rows.__exit__()

    def give(self, rows: pl.DataFrame) -> None:
        """Hand on the completions of the next rows, columns `ANSWER`."""
        first, self._given = self._given, self._given + rows.height
        low, high = np.searchsorted(self._givers, [first, self._given])
        chosen = rows.select(ANSWER)[self._givers[low:high] - first]
        indices = pl.Series("index", self._takers[low:high])
        self._rows.add(pl.DataFrame([indices, *chosen]))

    def take(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The next rows, each with its partner's completion for its own; those without a partner are left out."""
        first, self._taken = self._taken, self._taken + rows.height
        frames = [self._held]
        while frames[-1].is_empty() or frames[-1]["index"][-1] < self._taken:
            following = next(self._coming, None)
            if following is None:
                break
            frames.append(following)
        held = pl.concat(frames)
        self._held = held.filter(pl.col("index") >= self._taken)
        numbered = rows.drop(ANSWER).with_columns(index=pl.int_range(first, self._taken, dtype=pl.Int64))
        return numbered.join(held, on="index", how="inner", validate="1:1", maintain_order="left").select(rows.columns)
