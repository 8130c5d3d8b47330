"""Stored log-probs by content: a sequence scored once under a model, engine and route is not scored again.

The key is everything that decides the numbers: weights, tokenizer with its chat template, adapter, dtype, engine with
its version, and the route by which it really scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ..storage.digests import digest_json
from ..storage.folders import Folder
from ..tables import polars_schema
from .base import Score
from .shards import LOGPS, SHARD, TOKEN_LOGPS, Shards

# A shard with a value a token serves a run that wants sums as well; the other way it does not.
_WITH_TOKENS: Final = f"-tokens{SHARD}"


@dataclass(frozen=True)
class LogpsStore:
    """The log-probs of one key.

    Attributes:
        folder: The whole store.
        key: What the numbers depend on: digests of weights and tokenizer, the engine's identity and its route.
    """

    folder: Folder
    key: Mapping[str, str]

    @property
    def name(self) -> str:
        """The key's digest, which is the name of its folder."""
        return self._shards.name

    @property
    def _shards(self) -> Shards:
        return Shards(self.folder, self.key, LOGPS)

    def shards(self, *, token_logps: bool) -> Iterator[pl.DataFrame]:
        """The rows of each trusted shard, in the order of their names; the others are set aside with a warning.

        Args:
            token_logps: Only shards that hold a value a token.
        """
        for rows in self._shards.read(_WITH_TOKENS if token_logps else SHARD):
            yield rows if token_logps else rows.select(list(polars_schema("reference")))

    def write(self, scores: Sequence[Score]) -> pl.DataFrame:
        """Add one shard and return its rows.

        Args:
            scores: Its rows; with a value a token in all of them or in none.
        """
        tokens = [TOKEN_LOGPS] if scores and scores[0].token_logps is not None else []
        schema = polars_schema("reference", optional=bool(tokens))
        frame = pl.DataFrame([score[: len(schema)] for score in scores], schema=schema, orient="row")
        name = digest_json(frame["sequence_id"].to_list()) + (_WITH_TOKENS if tokens else SHARD)
        self._shards.write(frame, name)
        return frame
