"""Stored log-probs by content: a sequence scored once under a model, engine and dtype is not scored again.

A store is a folder with a folder a key; a key is the digest of weights, tokenizer and engine. Log-probs lie in
Parquet shards that name their key and the digest of their rows. A shard appears whole or not at all; one that is
cut, changed or of another key is set aside as `.bad`, and its sequences are scored again.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from pipeline.artifacts import digest_json, digest_text, read_parquet, read_parquet_metadata, write_parquet
from pipeline.context import Advance
from pipeline.engines.base import Engine, Score, TokenSequence
from pipeline.errors import EngineError, InputError, examples
from pipeline.tables import polars_schema

_KEY: Final = "thumbline.key"
_DIGEST: Final = "thumbline.rows"
_logger = logging.getLogger(__name__)


class Scored(NamedTuple):
    """What came out of the store and the engine.

    Attributes:
        frame: Columns of table `reference`, sorted by sequence id.
        n_stored: Sequences that the store had.
        n_scored: Sequences that the engine scored now.
        n_tokens: Tokens of those, prompts included.
    """

    frame: pl.DataFrame
    n_stored: int
    n_scored: int
    n_tokens: int


@dataclass(frozen=True)
class LogpsStore:
    """The shards of one key.

    Attributes:
        root: Folder of the whole store.
        key: What the numbers depend on: digests of weights and tokenizer, and the engine's identity.
    """

    root: Path
    key: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Where this key's shards lie."""
        return self.root / self._name

    @property
    def _name(self) -> str:
        return digest_json(dict(self.key))

    def read(self) -> pl.DataFrame:
        """All that is stored under the key, each sequence once; broken shards are set aside with a warning."""
        frames = [frame for path in sorted(self.folder.glob("*.parquet")) if (frame := self._shard(path)) is not None]
        if not frames:
            return pl.DataFrame(schema=polars_schema("reference"))
        return pl.concat(frames).unique("sequence_id", keep="first", maintain_order=True)

    def write(self, scores: Sequence[Score]) -> None:
        """Add one shard, named by the sequences in it, so that two writers of the same shard write one file."""
        frame = pl.DataFrame(scores, schema=polars_schema("reference"), orient="row")
        name = digest_text(*frame["sequence_id"])
        metadata = {_KEY: self._name, _DIGEST: _rows_digest(frame)}
        write_parquet(self.folder / f"{name}.parquet", frame, metadata)

    def _shard(self, path: Path) -> pl.DataFrame | None:
        """The shard's rows; None where it cannot be trusted, and then it is set aside."""
        try:
            frame, metadata = read_parquet(path), read_parquet_metadata(path)
        except (InputError, pl.exceptions.PolarsError):
            fault = "it is cut or no Parquet file"
        else:
            if metadata.get(_KEY) != self._name:
                fault = "it belongs to another model or engine"
            elif frame.schema != polars_schema("reference") or metadata.get(_DIGEST) != _rows_digest(frame):
                fault = "its rows are not those that were written"
            else:
                return frame
        path.replace(path.with_suffix(".bad"))
        _logger.warning("store: %s is set aside as .bad, since %s; its sequences are scored again.", path.name, fault)
        return None


def _rows_digest(frame: pl.DataFrame) -> str:
    return digest_text(frame.write_csv(float_precision=None))


def score_missing(
    sequences: pl.DataFrame,
    store: LogpsStore,
    open_engine: Callable[[], Engine],
    shard_rows: int,
    advance: Advance,
) -> Scored:
    """Log-probs of all sequences; the engine is opened only if the store lacks one.

    Args:
        sequences: Table `sequences`.
        store: Where log-probs are kept.
        open_engine: Loads the model.
        shard_rows: Sequences a shard.
        advance: Called with the number of sequences done.

    Raises:
        EngineError: The engine left a sequence out or scored another number of tokens.
    """
    stored = store.read().join(sequences.select("sequence_id"), on="sequence_id", how="semi")
    missing = sequences.join(stored, on="sequence_id", how="anti")
    advance(stored.height)
    if missing.height:
        engine = open_engine()
        try:
            for shard in _shards(missing, shard_rows):
                store.write(_checked(engine.score(shard), shard))
                advance(len(shard))
        finally:
            engine.close()
    known = store.read() if missing.height else stored
    frame = (
        sequences.select("sequence_id").join(known, on="sequence_id", how="left", validate="1:1").sort("sequence_id")
    )
    tokens = int(missing.select(pl.col("prompt_token_count").sum() + pl.col("completion_token_count").sum()).item())
    return Scored(frame, stored.height, missing.height, tokens)


def _shards(missing: pl.DataFrame, shard_rows: int) -> Iterator[list[TokenSequence]]:
    """Sequences in the order in which they are scored: a prompt's completions together, long prompts first.

    The order is a function of the rows alone and shards are written whole, so a run that was killed repeats
    exactly the calls that it had not finished, with the same numbers.
    """
    ordered = missing.with_columns(prompt=_prompt_text()).sort(
        ["prompt_token_count", "prompt", "completion_token_count", "sequence_id"], descending=[True, False, True, False]
    )
    for part in ordered.iter_slices(shard_rows):
        columns = part.select("sequence_id", "prompt_token_ids", "completion_token_ids")
        yield [TokenSequence(name, tuple(start), tuple(end)) for name, start, end in columns.iter_rows()]


def _prompt_text() -> pl.Expr:
    """A string that is equal for equal prompts."""
    return pl.col("prompt_token_ids").list.eval(pl.element().cast(pl.String)).list.join(",")


def _checked(scores: list[Score], shard: list[TokenSequence]) -> list[Score]:
    wrong = [
        entry.sequence_id
        for score, entry in zip(scores, shard, strict=True)
        if (score.sequence_id, score.token_count) != (entry.sequence_id, len(entry.completion_token_ids))
    ]
    if wrong:
        raise EngineError(f"{len(wrong)} of {len(shard)} scores are not of all completion tokens ({examples(wrong)}).")
    return scores
