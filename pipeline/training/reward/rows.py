"""Rows that a thumbs model is trained on: a split's thumbs, its pairs, or both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, overload

import polars as pl

from ...config import ThumbsConfig, TrainConfig
from ...context import StageContext
from ...errors import TrainingError
from ..mapped import Stored
from ..rows import Row
from ..stored import rows_of_kind
from .kinds import Kinds, thumbs_kinds

_NEVER: Final = 1 << 62


class Joined(Sequence[Row]):
    """Rows of several kinds behind one another; none is held."""

    def __init__(self, parts: Sequence[Sequence[Row]]) -> None:
        """Take the kinds' rows, in the order in which they are numbered."""
        self.parts = parts

    def __len__(self) -> int:
        """Number of rows."""
        return sum(map(len, self.parts))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        """The row at an index, or the rows of a range."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise AssertionError("unreachable: the range holds the index")


def thumbs_rows(context: StageContext, split: str, scratch: Path) -> Sequence[Row]:
    """A split's rows of the kinds that the method takes, with token ids.

    Args:
        context: The stage's.
        split: Which split.
        scratch: A folder for files of token ids.
    """
    blocks = context.blocks("row_sequences")(["response_id", "role", "sequence_id", "split"])
    own = (pl.col("split") == split) & (pl.col("role") == "matched")
    row_sequences = pl.concat([block.filter(own) for block in blocks])
    parts: list[Sequence[Row]] = []
    for kind in thumbs_kinds(context.config):
        stored = Stored(context.blocks("sequences"), None, scratch / f"{split}-{kind}.tokens")
        parts.append(rows_of_kind(context, split, kind, row_sequences, stored))
    return parts[0] if len(parts) == 1 else Joined(parts)


def loop_settings(config: ThumbsConfig) -> TrainConfig:
    """The optimiser loop's settings: those of `thumbs`, and for what it does not say those of `train` as they come."""
    return TrainConfig(
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        batch_rows=config.batch_rows,
        micro_batch_rows=config.micro_batch_rows,
        seed=config.seed,
        device=config.device,
        # Measured before the first step and after the last: what is between costs more than it says.
        validate_every=_NEVER,
    )


def evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` rows at even distances, so that each kind has its share."""
    return [rows[number * len(rows) // count] for number in range(count)] if len(rows) > count else list(rows)


def require_rows(rows: Sequence[Row], kinds: Kinds) -> None:
    """Refuse a training without a row.

    Raises:
        TrainingError: There is none.
    """
    words: dict[Literal["pairs", "unpaired"], str] = {"pairs": "pair", "unpaired": "unpaired row"}
    if not rows:
        named = " and no ".join(words[kind] for kind in kinds)
        raise TrainingError(
            f"thumbs: the training split holds no {named} with token ids. Look at the yield of pairs and the drops of "
            f"sequences in `thumbline status`, or choose another thumbs.method."
        )
