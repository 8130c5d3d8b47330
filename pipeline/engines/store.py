"""Stored log-probs by content: a sequence scored once under a model, engine and dtype is not scored again.

A store is a folder with a folder a key; a key is the digest of weights, tokenizer and engine. Log-probs lie in
Parquet shards that name their key and the digest of their rows. A shard appears whole or not at all; one that is
cut, changed or of another key is set aside as `.bad`, and its sequences are scored again. A shard is named by the
sequences in it, so processes that share a store at worst do the same work twice: none can spoil another's.
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
from pipeline.identity import digest
from pipeline.tables import polars_schema

_KEY: Final = "thumbline.key"
_ROWS: Final = "thumbline.rows"
_ROUTE: Final = "thumbline.route"
# Prompts whose ids are written as text at a time: bounds the memory of putting the sequences in order.
_PROMPTS_PER_BLOCK: Final = 50_000
_logger = logging.getLogger(__name__)


class Scored(NamedTuple):
    """What came out of the store and the engine.

    Attributes:
        frame: Columns of table `reference`, sorted by sequence id, each sequence once.
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

    def load(self, sequence_ids: pl.Series) -> pl.DataFrame:
        """What is stored of the given sequences, each once; broken shards are set aside with a warning."""
        shards = [self._shard(path) for path in sorted(self.folder.glob("*.parquet"))]
        found = pl.concat(
            [pl.DataFrame(schema=polars_schema("reference")), *(shard for shard in shards if shard is not None)]
        )
        wanted = pl.DataFrame({"sequence_id": sequence_ids})
        return found.join(wanted, on="sequence_id", how="semi").unique("sequence_id", keep="first", maintain_order=True)

    def write(self, scores: Sequence[Score], route: str) -> pl.DataFrame:
        """Add one shard and return its rows.

        Args:
            scores: Its rows.
            route: How the engine made them.
        """
        frame = pl.DataFrame(scores, schema=polars_schema("reference"), orient="row")
        metadata = {_KEY: self._name, _ROWS: _rows_digest(frame), _ROUTE: route}
        metadata |= {f"thumbline.key.{part}": value for part, value in self.key.items()}
        write_parquet(self.folder / f"{digest_text(*frame['sequence_id'])}.parquet", frame, metadata)
        return frame

    def _shard(self, path: Path) -> pl.DataFrame | None:
        """The shard's rows; None where it cannot be trusted, and then it is set aside."""
        try:
            frame, metadata = read_parquet(path), read_parquet_metadata(path)
        except (InputError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            fault = "it is cut or no Parquet file"
        else:
            if metadata.get(_KEY) != self._name:
                fault = "it belongs to another model or engine"
            elif frame.schema != polars_schema("reference") or metadata.get(_ROWS) != _rows_digest(frame):
                fault = "its rows are not those that were written"
            else:
                return frame
        _set_aside(path)
        _logger.warning(
            "store: %s is set aside as %s.bad, since %s; its sequences are scored again.", path, path.stem, fault
        )
        return None


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_suffix(".bad"))
    except FileNotFoundError:
        # Another process that shares the store was first.
        return


def _rows_digest(frame: pl.DataFrame) -> str:
    values = frame["logps"].to_numpy().tobytes().hex()
    return digest_text(*frame["sequence_id"], values, *frame["token_count"].cast(pl.String))


def score_missing(
    sequences: pl.DataFrame,
    store: LogpsStore,
    open_engine: Callable[[], Engine],
    shard_rows: int,
    advance: Advance,
) -> Scored:
    """Log-probs of all sequences; the engine is opened only if the store lacks one.

    Args:
        sequences: Table `sequences`; a sequence that repeats counts once.
        store: Where log-probs are kept.
        open_engine: Loads the model.
        shard_rows: Sequences a shard.
        advance: Called with the number of sequences done.

    Raises:
        EngineError: The engine left a sequence out or scored another number of tokens.
    """
    if sequences["sequence_id"].n_unique() < sequences.height:
        sequences = sequences.unique("sequence_id", keep="first", maintain_order=True)
    stored = store.load(sequences["sequence_id"])
    order = _scoring_order(sequences, stored)
    advance(stored.height)
    frames = [stored]
    if order.len():
        engine = open_engine()
        try:
            for shard in _shards(sequences, order, shard_rows):
                scores = _checked(engine.score(shard), shard)
                frames.append(store.write(scores, str(getattr(engine, "route", None))))
                advance(len(shard))
        finally:
            engine.close()
    tokens = sum(int(sequences[name][order].sum()) for name in ("prompt_token_count", "completion_token_count"))
    return Scored(pl.concat(frames).sort("sequence_id"), stored.height, order.len(), tokens)


def _scoring_order(sequences: pl.DataFrame, stored: pl.DataFrame) -> pl.Series:
    """Places of the sequences that are not stored, as they are scored: long prompts first, a prompt's together.

    The order is a function of the rows alone and shards are written whole, so a run that was killed repeats
    exactly the calls that it had not finished, with the same numbers.
    """
    keys = sequences.select(
        "sequence_id", "prompt_token_count", "completion_token_count", prompt=_prompt_digests(sequences)
    ).with_row_index("place")
    return (
        keys.join(stored, on="sequence_id", how="anti")
        .sort(
            ["prompt_token_count", "prompt", "completion_token_count", "sequence_id"],
            descending=[True, False, True, False],
        )
        .get_column("place")
    )


def _prompt_digests(sequences: pl.DataFrame) -> pl.Series:
    """A short string that is equal for equal prompts."""
    text = pl.col("prompt_token_ids").list.eval(pl.element().cast(pl.String)).list.join(",")
    blocks = [part.select(prompt=digest(text)) for part in sequences.iter_slices(_PROMPTS_PER_BLOCK)]
    return pl.concat([pl.DataFrame(schema={"prompt": pl.String}), *blocks])["prompt"]


def _shards(sequences: pl.DataFrame, order: pl.Series, shard_rows: int) -> Iterator[list[TokenSequence]]:
    columns = sequences.select("sequence_id", "prompt_token_ids", "completion_token_ids")
    for start in range(0, order.len(), shard_rows):
        part = columns[order[start : start + shard_rows]]
        yield [TokenSequence(name, tuple(prompt), tuple(end)) for name, prompt, end in part.iter_rows()]


def _checked(scores: list[Score], shard: list[TokenSequence]) -> list[Score]:
    wrong = [
        entry.sequence_id
        for score, entry in zip(scores, shard, strict=True)
        if (score.sequence_id, score.token_count) != (entry.sequence_id, len(entry.completion_token_ids))
    ]
    if wrong:
        raise EngineError(f"{len(wrong)} of {len(shard)} scores are not of all completion tokens ({examples(wrong)}).")
    return scores
