"""Rows with their token ids, as columns: the table `sequences` and what is known of each row beside it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from ..identity import digest, joined
from ..tables import TOKEN_IDS, polars_schema
from .boundary import Boundary

# What is known of a row beside its token ids.
ENTRY_COLUMNS: Final = ("reason", "detail", "boundary", "cut", "noticed")


class Encoded(NamedTuple):
    """Token ids of one prompt and one completion.

    Attributes:
        prompt_token_ids: Ids that the model is given.
        completion_token_ids: Ids that are scored and trained on.
        boundary: `prefix` where the whole prompt is the beginning of both; see `encoding`.
        cut: Tokens removed by truncation.
        drop_reason: Why the row cannot be used, or None.
        detail: More about that, or None.
        noticed: Names of `noticed.NOTICED`.
        thought: How many of the prompt's last tokens are thoughts of the answer, which are given and not scored.
    """

    prompt_token_ids: list[int]
    completion_token_ids: list[int]
    boundary: Boundary
    cut: int = 0
    drop_reason: str | None = None
    detail: str | None = None
    noticed: tuple[str, ...] = ()
    thought: int = 0


def sequence_columns(rows: pl.DataFrame, encoded: Sequence[Encoded]) -> pl.DataFrame:
    """`rows` with the columns of table `sequences`, then `ENTRY_COLUMNS` of each entry.

    A sequence's id is the digest of its two token id lists. `reason` is why a row is to be dropped, or null.

    Args:
        rows: Any columns.
        encoded: One entry a row, in the same order.
    """
    if rows.height != len(encoded):
        raise ValueError(f"sequences: {rows.height} rows but {len(encoded)} encodings")
    lists = ("prompt_token_ids", "completion_token_ids")
    return (
        rows.with_columns(
            *(pl.Series(name, [getattr(entry, name) for entry in encoded], dtype=TOKEN_IDS) for name in lists),
            pl.Series("reason", [entry.drop_reason for entry in encoded], dtype=pl.String),
            pl.Series("detail", [entry.detail for entry in encoded], dtype=pl.String),
            pl.Series("boundary", [entry.boundary for entry in encoded], dtype=pl.String),
            pl.Series("cut", [entry.cut for entry in encoded], dtype=pl.Int64),
            pl.Series("noticed", [entry.noticed for entry in encoded], dtype=pl.List(pl.String)),
        )
        .with_columns(
            sequence_id=sequence_ids(),
            prompt_token_count=pl.col("prompt_token_ids").list.len().cast(pl.Int64),
            completion_token_count=pl.col("completion_token_ids").list.len().cast(pl.Int64),
        )
        .select(*rows.columns, *polars_schema("sequences"), *ENTRY_COLUMNS)
    )


def sequence_ids() -> pl.Expr:
    """The id of each prompt_token_ids with its completion_token_ids: the digest of both."""
    return digest(joined(*(_as_text(name) for name in ("prompt_token_ids", "completion_token_ids"))))


def prompt_digests() -> pl.Expr:
    """The digest of each prompt_token_ids alone."""
    return digest(_as_text("prompt_token_ids"))


def _as_text(name: str) -> pl.Expr:
    return pl.col(name).list.eval(pl.element().cast(pl.String)).list.join(",")
