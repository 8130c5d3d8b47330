"""Prompts of a split as rows: each once, with the token ids that an answer continues."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, overload

import numpy as np
import polars as pl

from ...config import TrainConfig
from ...context import StageContext
from ...errors import TrainingError
from ..rows import PromptRow, TrainingSequence
from ..selecting import first_rows

_NO_TOKENS: Final = np.empty(0, dtype=np.int32)


class Prompts(Sequence[PromptRow]):
    """Rows over a table of prompts; each is made when it is asked for."""

    def __init__(self, table: pl.DataFrame) -> None:
        """Take the table.

        Args:
            table: Columns prompt_id and prompt_token_ids, in an order that follows from the data alone.
        """
        self.table = table

    def __len__(self) -> int:
        """Number of prompts."""
        return self.table.height

    @overload
    def __getitem__(self, index: int) -> PromptRow: ...
    @overload
    def __getitem__(self, index: slice) -> "Prompts": ...
    def __getitem__(self, index: "int | slice") -> "PromptRow | Prompts":
        """The row at an index, or the rows of a range."""
        if isinstance(index, slice):
            return Prompts(self.table[index])
        name, token_ids = self.table.row(range(len(self))[index])
        return PromptRow(name, TrainingSequence(name, np.asarray(token_ids, dtype=np.int32), _NO_TOKENS, None))


class PromptTables(Protocol):
    """Where prompts are read from: a stage's context, or a run's own tables."""

    def read(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns of a table."""

    def blocks(self, table: str) -> Callable[[list[str]], Iterator[pl.DataFrame]]:
        """Gives columns of a table, some rows at a time, each time that it is called."""


def prompts_of_split(tables: PromptTables, split: str, longest: int | None) -> tuple[Prompts, int]:
    """Prompts of a split that have a sequence, sorted by id, and how many were too long.

    Where a prompt was cut more for one answer than for another, its longest form counts.

    Args:
        tables: Pairs, unpaired rows and their sequences.
        split: Which one.
        longest: Most tokens of a prompt, so that an answer has room behind it; None for any number.
    """
    own = (pl.col("split") == split) & (pl.col("role") == "matched")
    rows = pl.concat(
        [
            block.filter(own).select("response_id", "sequence_id")
            for block in tables.blocks("row_sequences")(["response_id", "sequence_id", "role", "split"])
        ]
    ).join(_prompt_ids(tables), on="response_id", how="inner", validate="m:1")
    blocks = tables.blocks("sequences")(["sequence_id", "prompt_token_ids"])
    table = (
        pl.concat([block.join(rows, on="sequence_id", how="inner") for block in blocks])
        .sort(pl.col("prompt_token_ids").list.len(), "response_id", descending=[True, False])
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", "prompt_token_ids")
        .sort("prompt_id")
    )
    fits = pl.lit(True) if longest is None else pl.col("prompt_token_ids").list.len() <= longest
    kept = table.filter(fits)
    return Prompts(kept), table.height - kept.height


def _prompt_ids(tables: PromptTables) -> pl.DataFrame:
    """`response_id` and `prompt_id` of every row that may have a sequence."""
    pairs = tables.read("pairs", ["prompt_id", "chosen_response_id", "rejected_response_id"])
    parts = [
        tables.read("unpaired", ["response_id", "prompt_id"]),
        *(
            pairs.select(response_id=f"{side}_response_id", prompt_id=pl.col("prompt_id"))
            for side in ("chosen", "rejected")
        ),
    ]
    return pl.concat(parts).unique("response_id", keep="first", maintain_order=True)


def training_prompts(context: StageContext, longest: int | None) -> dict[str, Prompts]:
    """Prompts of the splits that training reads; those that are too long are counted and said.

    Args:
        context: Of the train stage; `train.most_rows` counts prompts here.
        longest: Most tokens of a prompt; None for any number.

    Raises:
        TrainingError: There is none to train on.
    """
    found = {split: prompts_of_split(context, split, longest) for split in ("train", "validation")}
    dropped = sum(count for _, count in found.values())
    if dropped:
        context.reporter.say(
            f"train: {dropped} prompts of more than {longest} tokens get no answer: with train.rollouts.max_new_tokens "
            f"they are longer than the model takes."
        )
    if not len(found["train"][0]):
        raise TrainingError(
            "train: the training split holds no prompt that an answer fits behind. Look at the drops of sequences in "
            "`thumbline status`, or lower train.rollouts.max_new_tokens."
        )
    return {"train": trained_prompts(found["train"][0], context.config.train), "validation": found["validation"][0]}


def trained_prompts(prompts: Prompts, config: TrainConfig) -> Prompts:
    """Those that are trained on: all, or the first of an order that the seed draws.

    Args:
        prompts: Of the training split.
        config: How many at most.
    """
    if config.most_rows is None:
        return prompts
    chosen = first_rows(prompts.table.with_columns(response_id="prompt_id"), config.most_rows, config.seed)
    return Prompts(chosen.drop("response_id"))
