"""Training rows from the tables of a run: those of a split, with token ids and stored reference log-probs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import polars as pl

from thumbline.evaluators.types import RowKind

from ..config import TrainConfig
from ..context import StageContext
from ..errors import TrainingError
from .mapped import MappedRows, Stored, pair_rows, unpaired_rows
from .rows import Row
from .selecting import of_model, selected

_PAIR_COLUMNS: Final = ("pair_id", "chosen_response_id", "rejected_response_id", "chosen_better_probability")
_ANSWER_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pairs": ("chosen_response_id", "rejected_response_id"),
    "unpaired": ("response_id",),
}
_UNPAIRED_COLUMNS: Final = ("response_id", "label", "weight", "probability_desirable")


def rows_of_splits(context: StageContext, scratch: Path, kind: RowKind) -> dict[str, MappedRows[Row]]:
    """Training rows of the splits that training reads.

    Raises:
        TrainingError: There is nothing to train on.
    """
    rows = {split: _rows(context, split, scratch, kind) for split in ("train", "validation")}
    if not rows["train"]:
        raise TrainingError(
            f"train: the training split holds no {'pair' if kind == 'pairs' else 'unpaired row'} with token ids. "
            f"Look at the yield of pairs and the drops of sequences in `thumbline status`, or choose another method."
        )
    return rows


def _rows(context: StageContext, split: str, scratch: Path, kind: RowKind) -> MappedRows[Row]:
    """Training rows of one split, with stored reference log-probs; token ids stay in a file under `scratch`."""
    blocks = context.blocks("row_sequences")(["response_id", "role", "sequence_id", "split"])
    row_sequences = pl.concat([block.filter(pl.col("split") == split) for block in blocks])
    stored = Stored(
        context.blocks("sequences"),
        context.blocks("reference"),
        scratch / f"{split}.tokens",
        token_logps=_takes_tokens(context.config.train) and context.config.reference.token_logps,
    )
    return rows_of_kind(context, split, kind, row_sequences, stored, context.config.train)


def _takes_tokens(config: TrainConfig) -> bool:
    """Whether training takes the reference's log-probs of single tokens."""
    return config.ld_alpha < 1.0 or config.clips_ratios


def rows_of_kind(
    context: StageContext,
    split: str,
    kind: RowKind,
    row_sequences: pl.DataFrame,
    stored: Stored,
    config: TrainConfig | None = None,
) -> MappedRows[Row]:
    """Rows of a split whose sequences are there.

    Args:
        context: The stage's.
        split: Which split.
        kind: Pairs or unpaired rows.
        row_sequences: Which sequence each row stands on: table `row_sequences`, of this split.
        stored: Where sequences and log-probs lie.
        config: Settings of training, which say which rows are trained on; None: all.
    """
    if kind == "pairs":
        weight = () if context.config.pairs.weights == "none" else ("weight",)
        kept = of_split(context, split, (*_PAIR_COLUMNS, *weight), kind, config)
        matched = row_sequences.filter(pl.col("role") == "matched").select("response_id", "sequence_id")
        return cast("MappedRows[Row]", pair_rows(kept, matched, stored))
    kept = of_split(context, split, _UNPAIRED_COLUMNS, kind, config)
    return cast("MappedRows[Row]", unpaired_rows(kept, row_sequences, stored))


def of_split(
    context: StageContext, split: str, columns: Sequence[str], kind: RowKind, config: TrainConfig | None = None
) -> pl.DataFrame:
    """Columns of the rows of one split, those that are trained on as a config says or all; no text is read."""
    prompts = context.read("splits").filter(pl.col("split") == split).select("prompt_id")
    only = config.only_model if config is not None and split == "train" else None
    ids = () if only is None else _ANSWER_IDS[kind]
    rows = context.read(kind, list(dict.fromkeys(("prompt_id", *columns, *ids))))
    rows = rows.join(prompts, on="prompt_id", how="semi")
    if only is not None:
        rows = of_model(rows, context.read("responses", ["response_id", "model"]), only)
    return rows if config is None else selected(rows, config, split)


def class_counts(rows: MappedRows[Row]) -> tuple[int, int]:
    """How many rows are desirable and undesirable; pairs have one of each."""
    if "label" not in rows.table.columns:
        return len(rows), len(rows)
    desirable = int(rows.table["label"].sum())
    return desirable, len(rows) - desirable
