"""Pairs of preferences as a frame, with their ids and the columns to slice by."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import polars as pl
import pyarrow as pa

from ..identity import as_answer, digest, joined, normalised_answer, prompt_key, with_extra
from ..importers.shared.messages import Answer
from ..tables import MESSAGES
from .layouts import Preference

_ARROW_MESSAGES: Final = pa.large_list(pa.struct({name: pa.large_string() for name in ("role", "content", "extra")}))

SliceValues: TypeAlias = tuple[str | float | None, ...]


def pair_frame(rows: Sequence[tuple[Preference, SliceValues]], slices: Sequence[str]) -> pl.DataFrame:
    """Pairs with `pair_id`, `group_id` and their message lists, each with its values of the columns to slice by."""
    preferences = [preference for preference, _ in rows]
    # Through Arrow, since polars builds a frame a message list on the way.
    messages = pa.array([preference.prompt for preference in preferences], _ARROW_MESSAGES)
    columns: dict[str, Any] = {
        "prompt": pl.Series("prompt", messages, dtype=MESSAGES),
        "tools": pl.Series([preference.tools for preference in preferences], dtype=pl.String),
        **_answer_columns("chosen", [preference.chosen for preference in preferences]),
        **_answer_columns("rejected", [preference.rejected for preference in preferences]),
    }
    for place, name in enumerate(slices):
        columns[name] = _slice_column([values[place] for _, values in rows])
    prompt = with_extra(prompt_key(pl.col("prompt")), pl.col("tools"))
    sides = {side: (pl.col(side), pl.col(f"{side}_extra")) for side in ("chosen", "rejected")}
    said = [with_extra(normalised_answer(text), extra) for text, extra in sides.values()]
    return (
        pl.DataFrame(columns)
        .with_columns(
            pair_id=digest(joined(prompt, *said)),
            group_id=digest(joined(pl.lit("text"), prompt_key(pl.col("prompt"), loose=True))),
        )
        .with_columns(as_answer(*answer).alias(side) for side, answer in sides.items())
        .select("pair_id", "group_id", "prompt", "tools", "chosen", "rejected", *slices)
    )


def _answer_columns(side: str, answers: Sequence[Answer]) -> dict[str, pl.Series]:
    texts, extras = ([answer[place] for answer in answers] for place in range(2))
    return {side: pl.Series(texts, dtype=pl.String), f"{side}_extra": pl.Series(extras, dtype=pl.String)}


def _slice_column(values: Sequence[str | float | None]) -> pl.Series:
    """Numbers stay numbers, so that they can be cut into ranges; a column of both kinds is text."""
    if any(isinstance(value, str) for value in values):
        return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    whole = all(value is None or isinstance(value, int) for value in values)
    return pl.Series(values, dtype=pl.Int64 if whole else pl.Float64)
