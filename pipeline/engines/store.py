"""Stored log-probs by content: a sequence scored once under a model, engine and route is not scored again.

A store is a folder, local or behind an address, with a folder a key. A key is the digest of everything that decides
the numbers: weights, tokenizer with its chat template, adapter, dtype, engine with its version, and the route by
which it really scored. Log-probs lie in Parquet shards that name their key and the digest of their rows. A shard
appears whole or not at all; one that is cut, changed or of another key is set aside as `.bad`, and its sequences
are scored again. A shard is named by the sequences in it, so processes and machines that share a store at worst do
the same work twice: none can spoil another's.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

import polars as pl

from ..errors import InputError
from ..storage.digests import digest_json
from ..storage.folders import Folder
from ..storage.parquet import parquet_bytes, read_parquet_bytes
from ..tables import polars_schema
from .base import Score

KEY: Final = "thumbline.key"
KEY_PART: Final = "thumbline.key."
_ROWS: Final = "thumbline.rows"
SHARD: Final = ".parquet"
BAD: Final = ".bad"
TOKEN_LOGPS: Final = "token_logps"
# A shard with a value a token serves a run that wants sums as well; the other way it does not.
_WITH_TOKENS: Final = f"-tokens{SHARD}"
# Shards read at a time: a store behind a network answers each in tens of milliseconds.
_READERS: Final = 8
_WINDOW: Final = 64
_logger = logging.getLogger(__name__)


class Shard(NamedTuple):
    """One shard's content.

    Attributes:
        rows: Columns of table `reference`.
        metadata: What it says about itself.
    """

    rows: pl.DataFrame
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class LogpsStore:
    """The shards of one key.

    Attributes:
        folder: The whole store.
        key: What the numbers depend on: digests of weights and tokenizer, the engine's identity and its route.
    """

    folder: Folder
    key: Mapping[str, str]

    @property
    def name(self) -> str:
        """The key's digest, which is the name of its folder."""
        return digest_json(dict(self.key))

    def shards(self, *, token_logps: bool) -> Iterator[pl.DataFrame]:
        """The rows of each trusted shard, in the order of their names; the others are set aside with a warning.

        Args:
            token_logps: Only shards that hold a value a token.
        """
        ending = _WITH_TOKENS if token_logps else SHARD
        names = (file.name for file in self.folder.files(self.name) if file.name.endswith(ending))
        with ThreadPoolExecutor(_READERS) as pool:
            # A window at a time, so that shards wait in memory for nobody.
            while window := list(islice(names, _WINDOW)):
                for rows in pool.map(self._trusted, window):
                    if rows is not None:
                        yield rows if token_logps else rows.select(list(polars_schema("reference")))

    def write(self, scores: Sequence[Score]) -> pl.DataFrame:
        """Add one shard and return its rows.

        Args:
            scores: Its rows; with a value a token in all of them or in none.
        """
        tokens = [TOKEN_LOGPS] if scores and scores[0].token_logps is not None else []
        schema = polars_schema("reference", optional=bool(tokens))
        frame = pl.DataFrame([score[: len(schema)] for score in scores], schema=schema, orient="row")
        metadata = {KEY: self.name, _ROWS: rows_digest(frame)}
        metadata |= {f"{KEY_PART}{part}": value for part, value in self.key.items()}
        name = digest_json(frame["sequence_id"].to_list()) + (_WITH_TOKENS if tokens else SHARD)
        self.folder.write(f"{self.name}/{name}", parquet_bytes(frame, metadata))
        return frame

    def _trusted(self, name: str) -> pl.DataFrame | None:
        """The shard's rows; None where it cannot be trusted, and then it is set aside."""
        path = f"{self.name}/{name}"
        try:
            data = self.folder.read(path)
        except FileNotFoundError:
            # Another process that shares the store has set it aside.
            return None
        shard = open_shard(data, self.name)
        if not isinstance(shard, str):
            return shard.rows
        self.folder.rename(path, path.removesuffix(SHARD) + BAD)
        _logger.warning(
            "store: %s is set aside as %s, since %s; its sequences are scored again.",
            self.folder.address(path),
            name.removesuffix(SHARD) + BAD,
            shard,
        )
        return None


def open_shard(data: bytes, key_name: str) -> Shard | str:
    """A shard from its bytes, or in words why it cannot be trusted.

    Args:
        data: The file.
        key_name: The key that it should be of.
    """
    try:
        frame, metadata = read_parquet_bytes(data)
    except InputError:
        return "it is cut or no Parquet file"
    if metadata.get(KEY) != key_name:
        return "it belongs to another model, engine or route"
    schema = polars_schema("reference", optional=TOKEN_LOGPS in frame.columns)
    if frame.schema != schema or metadata.get(_ROWS) != rows_digest(frame):
        return "its rows are not those that were written"
    return Shard(frame, metadata)


def rows_digest(frame: pl.DataFrame) -> str:
    """SHA-256 over ids, counts and the bits of the values, in the order of the rows."""
    hasher = hashlib.sha256(f"{frame.height}\n".encode())
    hasher.update("\n".join(frame["sequence_id"]).encode())
    hasher.update(frame["logps"].to_numpy().tobytes())
    hasher.update(frame["token_count"].to_numpy().tobytes())
    if TOKEN_LOGPS in frame.columns:
        hasher.update(frame[TOKEN_LOGPS].list.len().to_numpy().tobytes())
        hasher.update(frame[TOKEN_LOGPS].explode().drop_nulls().to_numpy().tobytes())
    return hasher.hexdigest()
