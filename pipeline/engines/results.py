"""Log-probs of all wanted sequences while they come in, from the store and from the engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ..tables import polars_schema
from .base import Score
from .feeding import BUCKET_TOKENS, Catalogue, as_text, sorted_by_index, token_buckets
from .shards import TOKEN_LOGPS

BATCH_ROWS: Final = 50_000


class Results:
    """One number a wanted sequence in memory; values a token, where asked for, by way of files if there are many."""

    def __init__(
        self, wanted: Catalogue, *, token_logps: bool, scratch: Path, bucket_tokens: int = BUCKET_TOKENS
    ) -> None:
        """Begin with nothing known.

        Args:
            wanted: The sequences.
            token_logps: Keep a value a token as well.
            scratch: Where a file may lie; it need not exist.
            bucket_tokens: About how many values a token are held in memory.
        """
        self._wanted = wanted
        self._logps = np.full(len(wanted), np.nan)
        self._is_known = np.zeros(len(wanted), dtype=bool)
        buckets = token_buckets(wanted.completion_counts, bucket_tokens)
        self._token_logps = sorted_by_index(scratch, buckets, bucket_tokens) if token_logps else None

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(sequences,) which are not known yet."""
        return ~self._is_known

    @property
    def has_tokens(self) -> bool:
        """Whether values a token are kept."""
        return self._token_logps is not None

    @property
    def known(self) -> int:
        """How many are known."""
        return int(self._is_known.sum())

    def add(self, rows: pl.DataFrame) -> None:
        """Take what is wanted of a shard's rows; what is known already stays as it is."""
        indices = self._wanted.indices(rows["sequence_id"])
        counts = rows["token_count"].to_numpy()
        # A count that differs is no score of this sequence, whatever its name says.
        fits = indices >= 0
        if len(self._wanted):
            fits &= (self._wanted.completion_counts[indices] == counts) & ~self._is_known[indices]
        taken = np.unique(indices[fits], return_index=True)[1]
        rows, indices = rows.filter(pl.Series(fits))[taken], indices[fits][taken]
        self._logps[indices] = rows["logps"].to_numpy()
        self._is_known[indices] = True
        if self._token_logps is not None and rows.height:
            self._token_logps.add(rows.select(pl.Series("index", indices), TOKEN_LOGPS))

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Columns of table `reference`, sorted by id; to be read once. One empty batch where nothing is wanted."""
        if self._token_logps is None:
            for start in range(0, max(len(self._wanted), 1), batch_rows):
                yield self._rows(np.arange(start, min(start + batch_rows, len(self._wanted))))
            return
        schema = polars_schema("reference", optional=True)
        empty = True
        with self._token_logps as rows:
            for part in rows.batches():
                yield self._rows(part["index"].to_numpy()).with_columns(part[TOKEN_LOGPS]).cast(schema)
                empty = False
        if empty:
            yield pl.DataFrame(schema=schema)

    def scores(self, indices: npt.NDArray[np.int64]) -> list[Score]:
        """The sums at some indices of the catalogue; NaN where one is not known."""
        return [Score(*row) for row in self._rows(indices).iter_rows()]

    def frame(self) -> pl.DataFrame:
        """All batches as one table."""
        return pl.concat(list(self.batches()))

    def _rows(self, indices: npt.NDArray[np.int64]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "sequence_id": as_text(self._wanted.ids[indices]),
                "logps": self._logps[indices],
                "token_count": self._wanted.completion_counts[indices],
            },
            schema=polars_schema("reference"),
        )
