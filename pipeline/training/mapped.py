"""Tables to training rows that are made when they are looked at: token ids lie in a file that is mapped into memory.

Of a sequence a few numbers are held, of a row its id and its numbers. What a step reads of the file is loaded by the
operating system, which drops it again where memory is short.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt
import polars as pl

from ..engines.feeding import COUNTS, Blocks, Catalogue, as_text, catalogue
from ..errors import TrainingError
from ..storage.arrays import RaggedArray, RaggedPart
from .rows import PairRow, Row, TrainingSequence, UnpairedRow

RowT = TypeVar("RowT", bound=Row)
_TOKENS: Final = ["sequence_id", "prompt_token_ids", "completion_token_ids"]
_ENDS: Final = ("chosen_response_id", "rejected_response_id")
_NO_INDEX: Final = -1


class Stored(NamedTuple):
    """Where what training reads lies.

    Attributes:
        sequences: Table `sequences`.
        reference: Table `reference`; None for a method without a reference.
        path: A file for the token ids, in a folder that need not exist.
        token_logps: Whether the reference's log-probs of single tokens are read too, into a file beside it.
    """

    sequences: Blocks
    reference: Blocks | None
    path: Path
    token_logps: bool = False


class MappedSequences:
    """The sequences that training reads, each with its stored reference log-prob."""

    def __init__(self, stored: Stored, needed: pl.Series) -> None:
        """Write the tokens of the needed sequences to a file and map it.

        Args:
            stored: Where the tables lie, and where the file goes.
            needed: Ids of the sequences that training reads, repeats included.

        Raises:
            TrainingError: A needed sequence is missing, or has no stored log-prob, or one over another number of
                tokens.
        """
        ids = needed.unique().to_frame("sequence_id")
        self._wanted = catalogue(lambda _: _only(stored.sequences(COUNTS), ids))
        if len(self._wanted) < ids.height:
            raise TrainingError(
                f"train: {ids.height - len(self._wanted)} of {ids.height} sequences of the rows are not in the table "
                f"of sequences. Run the sequences stage again."
            )
        self._tokens = _tokens(stored, ids, self._wanted)
        self._logps = None if stored.reference is None else _logps(stored.reference, self._wanted)
        self._token_logps = None
        if stored.reference is not None and stored.token_logps:
            self._token_logps = _token_logps(stored.reference, self._wanted, ids, stored.path.with_suffix(".logps"))

    def indexed(self, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Rows with indices for the sequence ids of some columns; -1 where there is none."""
        return rows.with_columns(self._indices(rows[column]) for column in columns)

    def _indices(self, ids: pl.Series) -> pl.Series:
        found = np.full(len(ids), _NO_INDEX, dtype=np.int64)
        found[ids.is_not_null().to_numpy()] = self._wanted.indices(ids.drop_nulls())
        return pl.Series(ids.name, found)

    def at(self, index: int) -> TrainingSequence:
        """The sequence at an index; its token ids are read from the file when they are used."""
        tokens, prompt_tokens = self._tokens.at(index), int(self._wanted.prompt_counts[index])
        return TrainingSequence(
            as_text(self._wanted.ids[index : index + 1])[0],
            tokens[:prompt_tokens],
            tokens[prompt_tokens:],
            None if self._logps is None else float(self._logps[index]),
            None if self._token_logps is None else self._token_logps.at(index),
        )


def _only(blocks: Iterator[pl.DataFrame], ids: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for block in blocks:
        yield block.join(ids, on="sequence_id", how="semi", maintain_order="left")


def _tokens(stored: Stored, ids: pl.DataFrame, wanted: Catalogue) -> RaggedArray:
    """Prompt and completion of each sequence one after the other."""

    def parts() -> Iterator[RaggedPart]:
        for block in _only(stored.sequences(_TOKENS), ids):
            tokens = block.select(pl.concat_list(_TOKENS[1:])).to_series().explode().drop_nulls()
            yield RaggedPart(wanted.indices(block["sequence_id"]), tokens.to_numpy())

    return RaggedArray(stored.path, np.int32, wanted.token_counts, parts())


def _logps(reference: Blocks, wanted: Catalogue) -> npt.NDArray[np.float64]:
    """(sequences,) nats: the stored log-prob of each."""
    logps = np.full(len(wanted), np.nan)
    for block in reference(["sequence_id", "logps", "token_count"]) if len(wanted) else ():
        indices = wanted.indices(block["sequence_id"])
        fits = (indices >= 0) & (wanted.completion_counts[indices] == block["token_count"].to_numpy())
        logps[indices[fits]] = block["logps"].to_numpy()[fits]
    wrong = np.flatnonzero(np.isnan(logps))
    if wrong.size:
        raise TrainingError(
            f"train: {wrong.size} of {len(wanted)} sequences have no reference log-prob of all their tokens "
            f"(first: {as_text(wanted.ids[wrong[:1]])[0]}). Run the reference stage again."
        )
    return logps


def _token_logps(reference: Blocks, wanted: Catalogue, ids: pl.DataFrame, path: Path) -> RaggedArray:
    """The reference's log-probs of single completion tokens."""

    def parts() -> Iterator[RaggedPart]:
        for block in _only(reference(["sequence_id", "token_logps"]), ids):
            values = block["token_logps"].explode().drop_nulls()
            yield RaggedPart(wanted.indices(block["sequence_id"]), values.to_numpy())

    logps = RaggedArray(path, np.float32, wanted.completion_counts, parts())
    if len(logps.values) != int(wanted.completion_counts.sum()):
        raise TrainingError(
            f"train: {len(logps.values)} log-probs of single tokens are stored, and the rows have "
            f"{int(wanted.completion_counts.sum())} completion tokens. Run the reference stage again."
        )
    return logps


class MappedRows(Sequence[RowT]):
    """Rows that are made when they are looked at.

    Attributes:
        table: A row's id and its numbers; of its sequences, their indices.
    """

    def __init__(self, table: pl.DataFrame, make: Callable[[dict[str, Any]], RowT]) -> None:
        """Take the table and what makes a training row of one of its rows."""
        self.table = table
        self._make = make

    def __len__(self) -> int:
        """Number of rows."""
        return self.table.height

    @overload
    def __getitem__(self, index: int) -> RowT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RowT]: ...
    def __getitem__(self, index: int | slice) -> RowT | Sequence[RowT]:
        """The row at an index, or the rows of a range."""
        if isinstance(index, slice):
            return MappedRows(self.table[index], self._make)
        # What lies outside the range raises IndexError, as a sequence must.
        return self._make(self.table.row(range(len(self))[index], named=True))


def pair_rows(pairs: pl.DataFrame, matched: pl.DataFrame, stored: Stored) -> MappedRows[PairRow]:
    """The pairs whose two sides both have a sequence, sorted by pair id.

    Args:
        pairs: Rows of table `pairs` of one split: ids, chosen_better_probability, and weight where they have one.
        matched: `response_id` and `sequence_id` of matched sequences.
        stored: Where sequences and log-probs lie.
    """
    weight = pl.col("weight") if "weight" in pairs.columns else pl.lit(1.0)
    sides = (
        pairs.select("pair_id", *_ENDS, "chosen_better_probability", weight=weight)
        .join(matched.rename({"sequence_id": "chosen"}), left_on="chosen_response_id", right_on="response_id")
        .join(matched.rename({"sequence_id": "rejected"}), left_on="rejected_response_id", right_on="response_id")
        .sort("pair_id")
        .select("pair_id", "chosen", "rejected", "chosen_better_probability", "weight")
    )
    sequences = MappedSequences(stored, pl.concat([sides["chosen"], sides["rejected"]]))

    def make(row: dict[str, Any]) -> PairRow:
        chosen, rejected = sequences.at(row["chosen"]), sequences.at(row["rejected"])
        return PairRow(row["pair_id"], chosen, rejected, row["weight"], row["chosen_better_probability"])

    return MappedRows(sequences.indexed(sides, ("chosen", "rejected")), make)


def unpaired_rows(unpaired: pl.DataFrame, row_sequences: pl.DataFrame, stored: Stored) -> MappedRows[UnpairedRow]:
    """The unpaired rows that have a sequence, sorted by response id.

    Args:
        unpaired: Rows of table `unpaired` of one split: ids, label and weights.
        row_sequences: Rows of table `row_sequences`.
        stored: Where sequences and log-probs lie.
    """
    roles = {
        role: row_sequences.filter(pl.col("role") == role).select("response_id", pl.col("sequence_id").alias(role))
        for role in ("matched", "mismatched")
    }
    rows = (
        unpaired.select("response_id", "label", "weight", "probability_desirable")
        .join(roles["matched"], on="response_id", how="inner", validate="1:1")
        .join(roles["mismatched"], on="response_id", how="left", validate="1:1")
        .sort("response_id")
    )
    sequences = MappedSequences(stored, pl.concat([rows["matched"], rows["mismatched"].drop_nulls()]))

    def make(row: dict[str, Any]) -> UnpairedRow:
        partner = None if row["mismatched"] == _NO_INDEX else sequences.at(row["mismatched"])
        matched = sequences.at(row["matched"])
        return UnpairedRow(
            row["response_id"], matched, partner, row["label"], row["weight"], row["probability_desirable"]
        )

    return MappedRows(sequences.indexed(rows, ("matched", "mismatched")), make)
