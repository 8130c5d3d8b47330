"""Texts beside the rows that name their answers: table `texts` holds each once; rows get them where they are read."""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from ..errors import TableError, examples
from ..tables import TEXTS, polars_schema
from .columns import gathered_rows


def without_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table without the texts that table `texts` holds."""
    return rows.drop(TEXTS, strict=False)


def with_texts(rows: pl.DataFrame, texts: pl.DataFrame, table: str, columns: Sequence[str] = TEXTS) -> pl.DataFrame:
    """Rows of `events` or `responses` with the texts of their answers, in the columns' order in that table.

    Rows that hold their texts by themselves are given back as they are.

    Args:
        rows: Rows of the table with `response_id`, with some of its columns or all.
        texts: Rows of table `texts`: those of all answers among them.
        table: Which table it is.
        columns: Which texts are wanted.

    Raises:
        TableError: An answer is not in `texts`.
    """
    if set(columns) <= set(rows.columns):
        return rows
    if rows["response_id"].equals(texts["response_id"]):
        return _in_order(rows.hstack(texts.select(columns)), table)
    own = texts.select("response_id").with_row_index("place")
    named = rows.select("response_id").join(own, on="response_id", how="left", maintain_order="left", validate="m:1")
    lost = named.filter(pl.col("place").is_null())["response_id"].unique(maintain_order=True)
    if len(lost):
        raise TableError(
            f"{table}: table texts lacks {len(lost):,} of its answers ({examples(lost.to_list())}). Run the stages "
            "from events on again."
        )
    return _in_order(rows.hstack(gathered_rows(texts.select(columns), named["place"].to_numpy())), table)


def _in_order(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    return rows.select(name for name in polars_schema(table, optional=True) if name in rows.columns)


def parts_with_texts(
    parts: Iterable[tuple[pl.DataFrame, pl.DataFrame]], table: str, columns: Sequence[str] = TEXTS
) -> Iterator[pl.DataFrame]:
    """`with_texts` of rows and texts of the same prompts, a part after the other."""
    return (with_texts(rows, texts, table, columns) for rows, texts in parts)
