"""Shards of a store: files that appear whole or not at all, and that say what they are of.

A store is a folder, local or behind an address, with a folder a key. A key is the digest of everything that decides
what is stored under it. Rows lie in Parquet shards that name their key, their kind, and the digest of their rows. One
that is cut, changed or of another key is set aside as `.bad`, and its rows are made again. A shard is named by what is
in it, so processes and machines that share a store at worst do the same work twice: none can spoil another's.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

import polars as pl

from ..errors import InputError
from ..storage.digests import digest_json
from ..storage.folders import Folder
from ..storage.parquet import parquet_bytes, read_parquet_bytes
from ..tables import TOKEN_IDS, polars_schema
from ..tables.columns import FINISH

KEY: Final = "thumbline.key"
KEY_PART: Final = "thumbline.key."
_KIND: Final = "thumbline.kind"
_ROWS: Final = "thumbline.rows"
SHARD: Final = ".parquet"
BAD: Final = ".bad"
TOKEN_LOGPS: Final = "token_logps"
# Shards read at a time: a store behind a network answers each in tens of milliseconds.
_READERS: Final = 8
_WINDOW: Final = 64
_logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What a shard holds.

    Attributes:
        name: Its name in the shard; log-probs, which were there first, have none.
        row_id: Column whose ids runs refer to.
        tokens: Column that counts tokens.
        schemas: What its rows may be.
    """

    name: str
    row_id: str
    tokens: str
    schemas: tuple[pl.Schema, ...]


LOGPS: Final = Kind(
    "",
    "sequence_id",
    "token_count",
    (pl.Schema(polars_schema("reference")), pl.Schema(polars_schema("reference", optional=True))),
)
# Sampled answers, by the digest of their prompt's token ids.
_ANSWER_COLUMNS: Final[dict[str, Any]] = {
    "prompt_digest": pl.String,
    "sample": pl.Int64,
    "token_count": pl.Int64,
    "finish": FINISH,
    "token_ids": TOKEN_IDS,
}
ANSWERS: Final = Kind("answers", "prompt_digest", "token_count", (pl.Schema(_ANSWER_COLUMNS),))
_KINDS: Final = {kind.name: kind for kind in (LOGPS, ANSWERS)}


class Shard(NamedTuple):
    """One shard's content.

    Attributes:
        rows: Columns of one of its kind's schemas.
        metadata: What it says about itself.
        kind: What it holds.
    """

    rows: pl.DataFrame
    metadata: Mapping[str, str]
    kind: Kind


@dataclass(frozen=True)
class Shards:
    """The shards of one key.

    Attributes:
        folder: The whole store.
        key: What the rows depend on.
        kind: What they are.
    """

    folder: Folder
    key: Mapping[str, str]
    kind: Kind

    @property
    def name(self) -> str:
        """The key's digest, which is the name of its folder."""
        return digest_json(dict(self.key))

    def read(self, ending: str = SHARD) -> Iterator[pl.DataFrame]:
        """The rows of each trusted shard, in the order of their names; the others are set aside with a warning.

        Args:
            ending: Only shards whose names end so.
        """
        names = (file.name for file in self.folder.files(self.name) if file.name.endswith(ending))
        with ThreadPoolExecutor(_READERS) as pool:
            # A window at a time, so that shards wait in memory for nobody.
            while window := list(islice(names, _WINDOW)):
                yield from (rows for rows in pool.map(self._trusted, window) if rows is not None)

    def write(self, rows: pl.DataFrame, file_name: str) -> None:
        """Add one shard.

        Args:
            rows: Of one of the kind's schemas.
            file_name: Made from what is in them.
        """
        metadata = {KEY: self.name, _ROWS: rows_digest(rows)} | ({_KIND: self.kind.name} if self.kind.name else {})
        metadata |= {f"{KEY_PART}{part}": value for part, value in self.key.items()}
        self.folder.write(f"{self.name}/{file_name}", parquet_bytes(rows, metadata))

    def _trusted(self, name: str) -> pl.DataFrame | None:
        """The shard's rows; None where it cannot be trusted, and then it is set aside."""
        path = f"{self.name}/{name}"
        try:
            data = self.folder.read(path)
        except FileNotFoundError:
            # Another process that shares the store has set it aside.
            return None
        shard = open_shard(data, self.name)
        if not isinstance(shard, str) and shard.kind == self.kind:
            return shard.rows
        self.folder.rename(path, path.removesuffix(SHARD) + BAD)
        _logger.warning(
            "store: %s is set aside as %s, since %s; what it held is made again.",
            self.folder.address(path),
            name.removesuffix(SHARD) + BAD,
            shard if isinstance(shard, str) else "it holds something else",
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
    kind = _KINDS.get(metadata.get(_KIND, ""))
    # No row that is written lacks a value.
    is_whole = kind is not None and frame.schema in kind.schemas and not any(frame.null_count().row(0))
    if kind is None or not is_whole or metadata.get(_ROWS) != rows_digest(frame):
        return "its rows are not those that were written"
    return Shard(frame, metadata, kind)


def rows_digest(frame: pl.DataFrame) -> str:
    """SHA-256 over texts, numbers and the bits of values, column by column in the order of the rows."""
    hasher = hashlib.sha256(f"{frame.height}\n".encode())
    for column in frame.iter_columns():
        if isinstance(column.dtype, pl.List):
            hasher.update(column.list.len().to_numpy().tobytes())
            hasher.update(column.explode().drop_nulls().to_numpy().tobytes())
        elif column.dtype.is_numeric():
            hasher.update(column.to_numpy().tobytes())
        else:
            hasher.update("\n".join(column.cast(pl.String)).encode())
    return hasher.hexdigest()
