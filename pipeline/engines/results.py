"""Log-probs of all wanted sequences while they come in, from the store and from the engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ..tables import polars_schema
from .base import Score
from .feeding import Catalogue, Spill, as_text
from .store import TOKEN_LOGPS

_BATCH_ROWS: Final = 50_000
# Values a token in memory at a time: 16 MiB of float32.
_BUCKET_TOKENS: Final = 4 * 1024 * 1024
_MOST_BUCKETS: Final = 256


class Results:
    """One number a wanted sequence in memory; values a token, where asked for, by way of files if there are many."""

    def __init__(self, wanted: Catalogue, *, token_logps: bool, scratch: Path) -> None:
        """Begin with nothing known.

        Args:
            wanted: The sequences.
            token_logps: Keep a value a token as well.
            scratch: Folder for files; it need not exist.
        """
        self._wanted = wanted
        self._logps = np.full(len(wanted), np.nan)
        self._is_known = np.zeros(len(wanted), dtype=bool)
        self._buckets = _buckets(wanted.completion_counts)
        count = int(self._buckets[-1]) + 1 if len(wanted) else 1
        self._spill = Spill(scratch, count) if token_logps else None

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(sequences,) which are not known yet."""
        return ~self._is_known

    @property
    def has_tokens(self) -> bool:
        """Whether values a token are kept."""
        return self._spill is not None

    @property
    def known(self) -> int:
        """How many are known."""
        return int(self._is_known.sum())

    def add(self, rows: pl.DataFrame) -> None:
        """Take what is wanted of a shard's rows; what is known already stays as it is."""
        places = self._wanted.places(rows["sequence_id"])
        counts = rows["token_count"].to_numpy()
        # A count that differs is no score of this sequence, whatever its name says.
        fits = (places >= 0) & (self._wanted.completion_counts[places] == counts) if len(self._wanted) else places >= 0
        fits &= ~self._is_known[places] if len(self._wanted) else fits
        taken = np.unique(places[fits], return_index=True)[1]
        rows, places = rows.filter(pl.Series(fits))[taken], places[fits][taken]
        self._logps[places] = rows["logps"].to_numpy()
        self._is_known[places] = True
        if self._spill is not None and rows.height:
            self._spill.add(rows.select(pl.Series("place", places), TOKEN_LOGPS), self._buckets)

    def batches(self) -> Iterator[pl.DataFrame]:
        """Columns of table `reference`, sorted by id; to be read once. One empty batch where nothing is wanted."""
        if self._spill is None:
            for start in range(0, max(len(self._wanted), 1), _BATCH_ROWS):
                yield self._rows(np.arange(start, min(start + _BATCH_ROWS, len(self._wanted))))
            return
        schema = polars_schema("reference", optional=True)
        empty = True
        with self._spill as spill:
            for part in spill.sorted():
                yield self._rows(part["place"].to_numpy()).with_columns(part[TOKEN_LOGPS]).cast(schema)
                empty = False
        if empty:
            yield pl.DataFrame(schema=schema)

    def scores(self, places: npt.NDArray[np.int64]) -> list[Score]:
        """The sums at some places of the catalogue; NaN where one is not known."""
        return [Score(*row) for row in self._rows(places).iter_rows()]

    def frame(self) -> pl.DataFrame:
        """All batches as one table."""
        return pl.concat(list(self.batches()))

    def _rows(self, places: npt.NDArray[np.int64]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "sequence_id": as_text(self._wanted.ids[places]),
                "logps": self._logps[places],
                "token_count": self._wanted.completion_counts[places],
            },
            schema=polars_schema("reference"),
        )


def _buckets(token_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(sequences,) the bucket of each: neighbours by id, of about equal tokens."""
    if not len(token_counts):
        return token_counts
    size = max(_BUCKET_TOKENS, int(token_counts.sum()) // (_MOST_BUCKETS - 1) + 1)
    found = (token_counts.cumsum() - token_counts) // size
    return np.unique(found, return_inverse=True)[1].astype(np.int64)
