"""Rows of prepared data to read: a few pairs and labelled answers with their texts, drawn by their ids."""

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from .examples import Turn, text_of, turns
from .inputs import Missing, ReportInputs

_PAIRS: Final = 4
_OF_A_LABEL: Final = 2


@dataclass(frozen=True)
class PairRow:
    """A pair as a trainer sees it.

    Attributes:
        pair_id: Its id.
        prompt: Messages of the prompt.
        chosen: Text of the better answer.
        rejected: Text of the worse one.
        chosen_better_probability: How sure the votes are that chosen is better, in [0, 1].
    """

    pair_id: str
    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    chosen_better_probability: float


@dataclass(frozen=True)
class AnswerRow:
    """A labelled answer.

    Attributes:
        response_id: Its id.
        prompt: Messages of the prompt.
        completion: Text of the answer.
        label: Whether it is desirable.
        probability_desirable: How sure the votes are of that, in [0, 1].
    """

    response_id: str
    prompt: tuple[Turn, ...]
    completion: str
    label: bool
    probability_desirable: float


@dataclass(frozen=True)
class DataRows:
    """The rows that are shown: pairs, and answers, desirable ones first."""

    pairs: tuple[PairRow, ...]
    answers: tuple[AnswerRow, ...]


def data_rows(inputs: ReportInputs) -> DataRows | Missing:
    """The first pairs and answers of each label by their ids, which are digests: as good as drawn by chance."""
    pairs, unpaired = _with_texts(inputs, "pairs"), _with_texts(inputs, "unpaired")
    if pairs is None and unpaired is None:
        return Missing("No pair and no labelled answer came out, so there is none to read.")
    labelled = [] if unpaired is None else [unpaired.filter("label"), unpaired.filter(~pl.col("label"))]
    return DataRows(
        pairs=() if pairs is None else tuple(map(_pair, _first(pairs, "pair_id", _PAIRS))),
        answers=tuple(_answer(row) for rows in labelled for row in _first(rows, "response_id", _OF_A_LABEL)),
    )


def _with_texts(inputs: ReportInputs, table: str) -> pl.DataFrame | None:
    frame = inputs.table(table)
    return frame if frame is not None and "prompt" in frame.columns else None


def _first(frame: pl.DataFrame, column: str, rows: int) -> list[dict[str, Any]]:
    wanted = frame[column].bottom_k(rows).implode()
    return frame.filter(pl.col(column).is_in(wanted)).sort(column).to_dicts()


def _pair(row: dict[str, Any]) -> PairRow:
    return PairRow(
        pair_id=row["pair_id"],
        prompt=turns(row["prompt"]) or (),
        chosen=text_of(row["chosen"]) or "",
        rejected=text_of(row["rejected"]) or "",
        chosen_better_probability=row["chosen_better_probability"],
    )


def _answer(row: dict[str, Any]) -> AnswerRow:
    return AnswerRow(
        response_id=row["response_id"],
        prompt=turns(row["prompt"]) or (),
        completion=text_of(row["completion"]) or "",
        label=row["label"],
        probability_desirable=row["probability_desirable"],
    )
